//! The engine inside Bevy: on Bevy's device, in Bevy's encoders, into Bevy's images and meshes. Nothing here knows the scene: a program of
//! your own can take this file as it is.

use bevy::prelude::*;
use bevy::render::mesh::allocator::MeshAllocator;
use bevy::render::renderer::{RenderDevice, RenderGraph, RenderGraphSystems, RenderQueue};
use bevy::render::texture::GpuImage;
use bevy::render::{RenderApp, RenderStartup};
use lazuli::{Device, Error, ErrorKind, Tensor, Ticket, wgpu};

/// Opens [`Engine`] in the render world. Systems that use it belong into [`RenderGraph`], before `camera_driver`.
pub struct LazuliPlugin;

/// The engine on Bevy's device.
#[derive(Resource)]
pub struct Engine {
    pub device: Device,
    tickets: Vec<Ticket>,
}

impl Plugin for LazuliPlugin {
    fn build(&self, app: &mut App) {
        let render = app.sub_app_mut(RenderApp);
        render.add_systems(RenderStartup, open).add_systems(RenderGraph, submitted.in_set(RenderGraphSystems::Finish));
    }
}

/// Runs again if Bevy opens another device because its first was lost.
pub fn open(mut commands: Commands, before: Option<Res<Engine>>, device: Res<RenderDevice>, queue: Res<RenderQueue>) -> Result {
    if let Some(before) = before {
        before.device.notify_lost()?;
    }
    let device = Device::from_wgpu(device.wgpu_device(), &queue)?;
    info!("tensors live on {}", device.describe());
    commands.insert_resource(Engine { device, tickets: Vec::new() });
    Ok(())
}

/// Bevy has submitted the frame's encoders: what they compute may be relied on.
fn submitted(mut engine: ResMut<Engine>) -> Result {
    Ok(engine.tickets.drain(..).try_for_each(Ticket::submitted)?)
}

impl Engine {
    /// Puts the computation of these tensors in the frame; `false` if their program is still being prepared.
    pub fn compute(&mut self, encoder: &mut wgpu::CommandEncoder, tensors: &[&Tensor]) -> lazuli::Result<bool> {
        match self.device.encode_into(encoder, tensors) {
            Ok(ticket) => self.tickets.push(ticket),
            Err(e) if e.kind() == ErrorKind::NotReady => return Ok(false),
            Err(e) => return Err(e),
        }
        Ok(true)
    }

    /// Makes a tensor `[rows, columns, channels]` the content of an image.
    pub fn paint(&mut self, encoder: &mut wgpu::CommandEncoder, picture: &Tensor, image: &GpuImage) -> lazuli::Result<()> {
        self.tickets.push(picture.copy_to_texture(encoder, &image.texture)?);
        Ok(())
    }

    /// Makes a computed tensor `[vertices, floats]` the vertices of a mesh, their attributes in Bevy's order: place, normal, place in the
    /// picture.
    pub fn shape(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        vertices: &Tensor,
        mesh: AssetId<Mesh>,
        meshes: &MeshAllocator,
    ) -> lazuli::Result<()> {
        // Meshes share buffers that grow: where this one lies is asked anew in every frame.
        let Some(to) = meshes.mesh_vertex_slice(&mesh) else { return Ok(()) };
        let [n, floats] = **vertices.shape() else { return Err(unfit(vertices, to.range.len())) };
        if n != to.range.len() {
            return Err(unfit(vertices, to.range.len()));
        }
        let from = vertices.wgpu_buffer()?;
        encoder.copy_buffer_to_buffer(&from.buffer, from.offset, to.buffer, to.range.start as u64 * 4 * floats as u64, from.size);
        Ok(())
    }
}

fn unfit(vertices: &Tensor, n: usize) -> Error {
    Error::new(ErrorKind::Shape, format!("a tensor {} cannot be the {n} vertices of a mesh", vertices.shape()))
}
