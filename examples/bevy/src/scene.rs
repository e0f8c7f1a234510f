//! The scene: a torus in the light, the pointer, and the frames that go to files.

use crate::coral::{Brush, Coral, RADII, SIZE};
use crate::plugin::{self, Engine, LazuliPlugin};
use bevy::app::AppExit;
use bevy::asset::RenderAssetUsages;
use bevy::camera::RenderTarget;
use bevy::core_pipeline::schedule::camera_driver;
use bevy::core_pipeline::tonemapping::Tonemapping;
use bevy::image::ImageSampler;
use bevy::light::CascadeShadowConfigBuilder;
use bevy::picking::backend::ray::RayMap;
use bevy::prelude::*;
use bevy::render::extract_resource::{ExtractResource, ExtractResourcePlugin};
use bevy::render::mesh::allocator::MeshAllocator;
use bevy::render::render_asset::RenderAssets;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat, TextureUsages};
use bevy::render::renderer::{RenderAdapterInfo, RenderContext, RenderGraph};
use bevy::render::texture::GpuImage;
use bevy::render::view::screenshot::{Screenshot, ScreenshotCaptured};
use bevy::render::{RenderApp, RenderStartup};
use lazuli::wgpu::DeviceType;
use std::path::PathBuf;

/// Of the window, or of the frames in files.
pub const PIXELS: (u32, u32) = (1024, 576);

#[derive(Clone, Resource)]
pub struct ScenePlugin {
    /// Ends after so many.
    pub frames: Option<usize>,
    /// Where frames go instead of a window.
    pub out: Option<PathBuf>,
}

/// What the tensor program shapes, and the pointer.
#[derive(Clone, Resource, ExtractResource)]
#[extract_app(RenderApp)]
struct Torus3d {
    mesh: Handle<Mesh>,
    colours: Handle<Image>,
    brush: Brush,
    /// Frames are shown while the program is still being prepared.
    live: bool,
}

/// What grows, in the render world.
#[derive(Resource)]
struct Growing {
    coral: Coral,
    prepared: bool,
}

#[derive(Component)]
struct Spins;

impl Plugin for ScenePlugin {
    fn build(&self, app: &mut App) {
        app.insert_resource(self.clone()).insert_resource(ClearColor(Color::srgb(0.03, 0.045, 0.07)));
        app.add_plugins((LazuliPlugin, ExtractResourcePlugin::<Torus3d>::default()));
        app.add_systems(Startup, set_up).add_systems(Update, (spin, poke, count));
        let render = app.sub_app_mut(RenderApp);
        render.add_systems(RenderStartup, sow.after(plugin::open)).add_systems(RenderGraph, grow.before(camera_driver));
    }
}

fn sow(mut commands: Commands, engine: Res<Engine>) {
    commands.insert_resource(Growing { coral: Coral::new(&engine.device), prepared: false });
}

/// A frame of the tensor program, in Bevy's encoder, before Bevy draws from what it computes.
fn grow(
    mut context: RenderContext,
    mut engine: ResMut<Engine>,
    mut growing: ResMut<Growing>,
    torus: Res<Torus3d>,
    images: Res<RenderAssets<GpuImage>>,
    meshes: Res<MeshAllocator>,
) -> Result {
    let Some(image) = images.get(&torus.colours) else { return Ok(()) };
    let next = growing.coral.grown(torus.brush);
    let (surface, colours) = (next.surface(), next.colours());
    let all = [&next.food, &next.coral, &surface, &colours];
    if torus.live && !growing.prepared {
        engine.device.prepare(&all)?;
        growing.prepared = true;
    }
    let encoder = context.command_encoder();
    if engine.compute(encoder, &all)? {
        engine.paint(encoder, &colours, image)?;
        engine.shape(encoder, &surface, torus.mesh.id(), &meshes)?;
        growing.coral = next;
    }
    Ok(())
}

fn set_up(
    mut commands: Commands,
    options: Res<ScenePlugin>,
    adapter: Res<RenderAdapterInfo>,
    mut meshes: ResMut<Assets<Mesh>>,
    mut images: ResMut<Assets<Image>>,
    mut materials: ResMut<Assets<StandardMaterial>>,
) {
    let [n, m] = SIZE;
    // Bevy's own torus: its vertices lie as the tensor program's do, and the pointer's ray meets it.
    let torus = Torus { major_radius: RADII[0], minor_radius: RADII[1] };
    let mesh = meshes.add(torus.mesh().major_resolution(n).minor_resolution(m));
    let picture = |width: u32, height: u32| {
        let size = Extent3d { width, height, depth_or_array_layers: 1 };
        Image::new_uninit(size, TextureDimension::D2, TextureFormat::Rgba8UnormSrgb, RenderAssetUsages::RENDER_WORLD)
    };
    let mut colours = picture(n as u32, m as u32);
    colours.sampler = ImageSampler::linear();
    let colours = images.add(colours);
    let material = StandardMaterial { base_color_texture: Some(colours.clone()), perceptual_roughness: 0.42, ..default() };
    let tilted = Transform::from_rotation(Quat::from_rotation_x(0.35));
    let spinning = (Spins, Mesh3d(mesh.clone()), MeshMaterial3d(materials.add(material)), Transform::default());
    commands.spawn((tilted, Visibility::default())).with_child(spinning);
    commands.insert_resource(Torus3d { mesh, colours, brush: Brush::default(), live: options.out.is_none() });

    let sun = DirectionalLight { illuminance: 9_000.0, color: Color::srgb(1.0, 0.95, 0.88), shadow_maps_enabled: true, ..default() };
    let shadows = CascadeShadowConfigBuilder { num_cascades: 1, maximum_distance: 6.0, ..default() }.build();
    commands.spawn((sun, shadows, Transform::from_xyz(-2.0, 4.0, 2.5).looking_at(Vec3::ZERO, Vec3::Y)));
    let behind = DirectionalLight { illuminance: 6_000.0, color: Color::srgb(0.2, 0.45, 1.0), ..default() };
    commands.spawn((behind, Transform::from_xyz(2.5, 0.6, -3.0).looking_at(Vec3::ZERO, Vec3::Y)));

    let place = Transform::from_xyz(0.0, 2.1, 3.1).looking_at(Vec3::new(0.0, -0.1, 0.0), Vec3::Y);
    let ambient = AmbientLight { color: Color::srgb(0.6, 0.75, 1.0), brightness: 250.0, ..default() };
    // A graphics adapter in software takes three times as long for four samples a pixel.
    let samples = if adapter.device_type == DeviceType::Cpu { Msaa::Off } else { Msaa::Sample4 };
    let mut camera = commands.spawn((Camera3d::default(), Tonemapping::AcesFitted, samples, ambient, place));
    if options.out.is_some() {
        let mut frame = picture(PIXELS.0, PIXELS.1);
        frame.texture_descriptor.usage |= TextureUsages::RENDER_ATTACHMENT;
        camera.insert(RenderTarget::Image(images.add(frame).into()));
    }
}

fn spin(mut spinning: Single<&mut Transform, With<Spins>>) {
    spinning.rotate_y(0.004);
}

/// Where the pointer's ray meets the torus, the left button plants coral and the right one takes it away.
fn poke(rays: Res<RayMap>, buttons: Res<ButtonInput<MouseButton>>, mut cast: MeshRayCast, mut torus: ResMut<Torus3d>) {
    let plants = f32::from(buttons.pressed(MouseButton::Left)) - f32::from(buttons.pressed(MouseButton::Right));
    let hit = rays.map.values().find_map(|&ray| cast.cast_ray(ray, &default()).first().and_then(|(_, hit)| hit.uv));
    torus.brush = hit.map_or(Brush::default(), |uv| Brush { at: uv.into(), plants });
}

/// Ends when enough was shown, or sends frames to files.
fn count(
    mut shown: Local<usize>,
    options: Res<ScenePlugin>,
    cameras: Query<&RenderTarget>,
    mut commands: Commands,
    mut exit: MessageWriter<AppExit>,
) {
    // In the very first there is nothing to see: Bevy is loading.
    let frame = *shown;
    *shown += 1;
    let last = Some(frame) == options.frames;
    match (&options.out, cameras.single()) {
        (Some(out), Ok(target)) if frame > 0 && (frame.is_multiple_of(60) || last) => {
            let path = out.join(format!("bevy_{frame:04}.png"));
            let save = move |shot: On<ScreenshotCaptured>, mut exit: MessageWriter<AppExit>| -> Result {
                shot.image.clone().try_into_dynamic()?.to_rgb8().save(&path)?;
                println!("{}", path.display());
                if last {
                    exit.write(AppExit::Success);
                }
                Ok(())
            };
            commands.spawn(Screenshot(target.clone())).observe(save);
        }
        (None, _) if last => {
            exit.write(AppExit::Success);
        }
        _ => {}
    }
}
