//! An application's textures as tensors, and tensors in its textures.

use super::host::{Host, host, kind};
use lazuli::prelude::*;
use lazuli::{ErrorKind, wgpu};
use wgpu::{TextureFormat as F, TextureUsages as U};

const ALL: U = U::TEXTURE_BINDING.union(U::COPY_DST).union(U::COPY_SRC).union(U::RENDER_ATTACHMENT);

/// IEC 61966-2-1, in higher precision.
fn linear(byte: u8) -> f64 {
    let v = byte as f64 / 255.0;
    if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
}

/// Bytes of any kind.
fn noise(n: usize) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_mul(2654435761) >> 19) as u8).collect()
}

fn halves(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&v| half(v).to_ne_bytes()).collect()
}

/// Bits of a number that half precision holds, by hand.
fn half(v: f32) -> u16 {
    if v == 0.0 {
        return 0;
    }
    let (sign, exponent) = (if v < 0.0 { 1 << 15 } else { 0 }, v.abs().log2().floor());
    let fraction = (v.abs() / exponent.exp2() - 1.0) * 1024.0;
    assert!((-14.0..16.0).contains(&exponent) && fraction.fract() == 0.0, "{v} is no half");
    sign | ((exponent + 15.0) as u16) << 10 | fraction as u16
}

fn close(got: &[f32], want: &[f64], within: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((g as f64 - w).abs() <= within, "{i}: {g} instead of {w}");
    }
}

#[test]
fn textures_are_read_as_linear_values() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    // Widths whose rows fill no multiple of 256 bytes.
    let (w, n) = (13, 13 * 5);
    let of = |f: F, bytes: &[u8]| {
        let t = h.texture(f, [w, 5], ALL);
        h.write_texture(&t, bytes);
        t
    };
    let bytes = noise(n * 4);
    let unorm = |b: &[u8]| b.iter().map(|&x| x as f64 / 255.0).collect::<Vec<_>>();
    let blue_last = |b: &[u8]| b.chunks(4).flat_map(|p| [p[2], p[1], p[0], p[3]]).collect::<Vec<_>>();
    let decoded = |b: &[u8]| b.iter().enumerate().map(|(i, &x)| if i % 4 == 3 { x as f64 / 255.0 } else { linear(x) }).collect::<Vec<_>>();
    for (format, want, within) in [
        (F::Rgba8Unorm, unorm(&bytes), 1e-6),
        (F::Bgra8Unorm, unorm(&blue_last(&bytes)), 1e-6),
        // Devices decode in their own ways, to about ten bits; that it is the same level is asked below.
        (F::Rgba8UnormSrgb, decoded(&bytes), 3e-3),
        (F::Bgra8UnormSrgb, decoded(&blue_last(&bytes)), 3e-3),
    ] {
        let t = Tensor::from_texture(&h.dev, &of(format, &bytes))?;
        assert_eq!((t.dtype(), t.shape().to_vec(), t.device()), (DType::F32, vec![5, w as usize, 4], h.dev));
        close(&t.to_vec::<f32>()?, &want, within);
    }
    let red = Tensor::from_texture(&h.dev, &of(F::R8Unorm, &bytes[..n]))?;
    assert_eq!(red.shape().to_vec(), [5, w as usize, 1]);
    close(&red.to_vec::<f32>()?, &unorm(&bytes[..n]), 1e-6);

    let values: Vec<f32> = (0..n * 4).map(|i| i as f32 * 0.25 - 20.0).collect();
    let same = |v: &[f32]| v.iter().map(|&x| x as f64).collect::<Vec<_>>();
    let raw: Vec<u8> = values.iter().flat_map(|x| x.to_ne_bytes()).collect();
    for (format, bytes, want) in [
        (F::Rgba16Float, halves(&values), &values[..]),
        (F::R16Float, halves(&values[..n]), &values[..n]),
        (F::Rgba32Float, raw.clone(), &values[..]),
        (F::R32Float, raw[..n * 4].to_vec(), &values[..n]),
    ] {
        let t = Tensor::from_texture(&h.dev, &of(format, &bytes))?;
        close(&t.to_vec::<f32>()?, &same(want), 0.0);
        // As part of a program, not only by itself.
        let sum: f32 = (&t * 2.0).sum(..).item()?;
        assert_eq!(sum, want.iter().sum::<f32>() * 2.0);
    }
    Ok(())
}

/// Puts a tensor in a texture; what lies there then.
fn stored(h: &Host, t: &Tensor, format: F, size: [u32; 2]) -> Result<Vec<u8>> {
    let texture = h.texture(format, size, U::COPY_DST | U::COPY_SRC);
    let mut e = h.encoder();
    let ticket = t.copy_to_texture(&mut e, &texture)?;
    h.submit(e);
    ticket.submitted()?;
    Ok(h.read_texture(&texture))
}

#[test]
fn tensors_are_written_as_the_format_wants() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let size = [13u32, 5];
    let n = 13 * 5;
    let values: Vec<f32> = (0..n * 4).map(|i| i as f32 * 0.25 - 20.0).collect();
    let make = |v: &[f32], c: usize| h.dev.scope(|| Tensor::from_slice(v, [5, 13, c]));
    // What is still to be computed goes in the same encoder.
    let t = make(&values, 4) * 1.0;
    assert_eq!(stored(&h, &t, F::Rgba16Float, size)?, halves(&values));
    assert_eq!(stored(&h, &t, F::Rgba32Float, size)?, values.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<_>>());
    let one = make(&values[..n], 1);
    assert_eq!(stored(&h, &one, F::R16Float, size)?, halves(&values[..n]));
    assert_eq!(stored(&h, &one.reshape([5, 13]), F::R32Float, size)?, values[..n].iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<_>>());

    // Every level of 8 bits, and what lies beyond.
    let levels: Vec<u8> = (0..n * 4).map(|i| (i * 3) as u8).collect();
    let unit: Vec<f32> = levels.iter().map(|&b| b as f32 / 255.0).collect();
    let t = make(&unit, 4);
    assert_eq!(stored(&h, &t, F::Rgba8Unorm, size)?, levels);
    let swapped: Vec<u8> = levels.chunks(4).flat_map(|p| [p[2], p[1], p[0], p[3]]).collect();
    assert_eq!(stored(&h, &t, F::Bgra8Unorm, size)?, swapped);
    assert_eq!(stored(&h, &make(&unit[..n], 1), F::R8Unorm, size)?, levels[..n]);
    let t = make(&values, 4);
    assert!(stored(&h, &t, F::Rgba8Unorm, size)?.iter().zip(&values).all(|(&b, &v)| b as f32 == (v.clamp(0.0, 1.0) * 255.0).round()));
    let large = h.dev.scope(|| Tensor::full([1, 2], 1e6));
    assert_eq!(stored(&h, &(large * tensor![[1.0, -1.0]].to_device(&h.dev)), F::R16Float, [2, 1])?, halves(&[65504.0, -65504.0]));

    // What was decoded by the device is encoded to where it came from.
    let source = h.texture(F::Rgba8UnormSrgb, [64, 1], ALL);
    let every: Vec<u8> = (0..=255).collect();
    h.write_texture(&source, &every);
    assert_eq!(stored(&h, &Tensor::from_texture(&h.dev, &source)?, F::Rgba8UnormSrgb, [64, 1])?, every);

    // Three channels: alpha is 1, and what is stored as sRGB is encoded.
    let levels: Vec<u8> = (0..=255u8).collect();
    let decoded: Vec<f32> = levels.iter().flat_map(|&b| [linear(b) as f32; 3]).collect();
    let t = h.dev.scope(|| Tensor::from_vec(decoded, [16, 16, 3]));
    let want: Vec<u8> = levels.iter().flat_map(|&b| [b, b, b, 255]).collect();
    assert_eq!(stored(&h, &t, F::Rgba8UnormSrgb, [16, 16])?, want);
    assert_eq!(stored(&h, &t, F::Bgra8UnormSrgb, [16, 16])?, want);
    Ok(())
}

#[test]
fn frames_see_what_was_drawn_before_them() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let drawn = h.texture(F::Rgba8Unorm, [32, 16], ALL);
    let shown: Vec<_> = (0..3).map(|_| h.texture(F::Rgba8Unorm, [32, 16], ALL)).collect();
    let picture = Tensor::from_texture(&h.dev, &drawn)?;
    let (mut e, mut tickets) = (h.encoder(), Vec::new());
    // Three frames in one submission: the application draws, a program changes that, the application draws over a corner of nothing.
    for (k, to) in shown.iter().enumerate() {
        h.fill(&mut e, &drawn, [0.2 * k as f64, 0.4, 1.0, 1.0]);
        let t = &picture * 0.5 + 0.1 * k as f32;
        let ticket = t.copy_to_texture(&mut e, to)?;
        assert!(ticket.dispatches() >= 3, "{ticket:?}");
        tickets.push(ticket);
    }
    h.fill(&mut e, &drawn, [0.0; 4]);
    h.submit(e);
    tickets.into_iter().try_for_each(|t| t.submitted())?;
    for (k, to) in shown.iter().enumerate() {
        let want = [0.2 * k as f64, 0.4, 1.0, 1.0].map(|v| ((v * 0.5 + 0.1 * k as f64) * 255.0).round());
        for p in h.read_texture(to).chunks(4) {
            // The texture between holds 8 bits.
            assert!(p.iter().zip(want).all(|(&g, w)| (g as f64 - w).abs() <= 1.0), "frame {k}: {p:?} instead of {want:?}");
        }
    }
    // Later programs and host reads see what is there then.
    assert_eq!(picture.sum(..).item::<f32>()?, 0.0);
    assert_eq!(picture.to_vec::<f32>()?, [0.0; 32 * 16 * 4]);
    let mut e = h.encoder();
    h.fill(&mut e, &drawn, [1.0; 4]);
    h.submit(e);
    assert_eq!(picture.sum(..).item::<f32>()?, 32.0 * 16.0 * 4.0);
    // A tensor of a texture is written to another as it is.
    let mut e = h.encoder();
    let ticket = picture.copy_to_texture(&mut e, &shown[0])?;
    h.submit(e);
    ticket.submitted()?;
    assert!(h.read_texture(&shown[0]).iter().all(|&b| b == 255));
    Ok(())
}

#[test]
fn textures_that_will_not_do() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let import = |t: &wgpu::Texture| kind(Tensor::from_texture(&h.dev, t));
    assert_eq!(import(&h.texture(F::Rgba8Uint, [4, 4], ALL)), ErrorKind::Argument);
    assert_eq!(import(&h.texture(F::Rgba8Unorm, [4, 4], U::COPY_DST)), ErrorKind::Argument);
    let layers = h.device.create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: 4, height: 4, depth_or_array_layers: 2 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: F::Rgba8Unorm,
        usage: ALL,
        view_formats: &[],
    });
    assert_eq!(import(&layers), ErrorKind::Argument);
    let good = h.texture(F::Rgba8Unorm, [4, 2], ALL);
    assert_eq!(kind(Tensor::from_texture(&Device::cpu(), &good)), ErrorKind::Device);
    let destroyed = h.texture(F::Rgba8Unorm, [4, 2], ALL);
    destroyed.destroy();
    assert_eq!(import(&destroyed), ErrorKind::Device);
    let Some(other) = host() else { return Ok(()) };
    let foreign = other.texture(F::Rgba8Unorm, [4, 2], ALL);
    assert_eq!(import(&foreign), ErrorKind::Device);

    let t = h.dev.scope(|| Tensor::full([2, 4, 4], 0.5)) * 1.0;
    let mut e = h.encoder();
    let mut refused = |t: &Tensor, to: &wgpu::Texture| kind(t.copy_to_texture(&mut e, to));
    assert_eq!(refused(&t, &h.texture(F::Rgba8Uint, [4, 2], ALL)), ErrorKind::Argument);
    assert_eq!(refused(&t, &h.texture(F::Rgba8Unorm, [4, 2], U::TEXTURE_BINDING)), ErrorKind::Argument);
    assert_eq!(refused(&t, &h.texture(F::Rgba8Unorm, [2, 4], ALL)), ErrorKind::Shape);
    assert_eq!(refused(&t, &h.texture(F::R8Unorm, [4, 2], ALL)), ErrorKind::Shape);
    assert_eq!(refused(&t.reshape([32]), &good), ErrorKind::Shape);
    assert_eq!(refused(&t.cast(DType::I32), &good), ErrorKind::DType);
    assert_eq!(refused(&t, &destroyed), ErrorKind::Device);
    assert_eq!(refused(&t, &foreign), ErrorKind::Device);
    assert_eq!(refused(&Tensor::zeros([2, 4, 4]).to_device(&Device::cpu()), &good), ErrorKind::Device);

    // Destroyed while a tensor is made of it: the encoder is as it was, and everything else goes on.
    let drawn = h.texture(F::Rgba8Unorm, [4, 2], ALL);
    let picture = Tensor::from_texture(&h.dev, &drawn)?;
    drawn.destroy();
    assert_eq!(kind(h.dev.encode_into(&mut e, &[&(&picture + 1.0)])), ErrorKind::Device);
    assert_eq!(kind((&picture + 2.0).to_vec::<f32>()), ErrorKind::Device);
    let ticket = t.copy_to_texture(&mut e, &good)?;
    h.submit(e);
    ticket.submitted()?;
    assert!(h.read_texture(&good).iter().all(|&b| b == 128));

    // It has no buffer to draw from.
    assert_eq!(kind(Tensor::from_texture(&h.dev, &good)?.wgpu_buffer()), ErrorKind::Argument);
    // A ticket that is dropped: the texture's scratch memory is nobody's after that.
    let mut e = h.encoder();
    let y = &t + 0.25;
    drop(y.copy_to_texture(&mut e, &good)?);
    assert_eq!(kind(y.to_vec::<f32>()), ErrorKind::NotReady);
    let mut again = h.encoder();
    assert_eq!(kind(y.copy_to_texture(&mut again, &good)), ErrorKind::NotReady);
    Ok(())
}

#[test]
fn a_filter_over_many_frames_takes_no_more_memory() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let (drawn, shown) = (h.texture(F::Rgba8UnormSrgb, [24, 24], ALL), h.texture(F::Rgba8UnormSrgb, [24, 24], ALL));
    let picture = Tensor::from_texture(&h.dev, &drawn)?;
    let mut after = None;
    for frame in 0..200 {
        let mut e = h.encoder();
        h.fill(&mut e, &drawn, [frame as f64 / 200.0, 0.5, 0.25, 1.0]);
        let ticket = (&picture * (1.0 - frame as f32 / 400.0)).copy_to_texture(&mut e, &shown)?;
        h.submit(e);
        ticket.submitted()?;
        h.device.poll(wgpu::PollType::Poll).expect("polled");
        let now = h.dev.memory_stats().reserved;
        if frame == 2 {
            after = Some(now);
        }
        assert!(after.is_none_or(|a| a == now), "frame {frame}: {after:?} became {now} bytes");
    }
    Ok(())
}
