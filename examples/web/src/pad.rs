//! From a drawing to an image like those of the data set: the ink scaled into 20x20 pixels, its centre of mass in the middle of 28x28.

/// Pixels along a side of an image.
pub const SIDE: usize = 28;
/// Of the box that the ink is scaled into.
const INK: f32 = 20.0;
/// Samples along each axis that a pixel is the mean of.
const SAMPLES: usize = 4;

/// The image of a square drawing, given as the opacity of each of its pixels; `None` if nothing is drawn.
pub fn centred(ink: &[u8]) -> Option<Vec<f32>> {
    let side = ink.len().isqrt();
    let at = |x: usize, y: usize| ink.get(y * side + x).map_or(0.0, |&p| f32::from(p) / 255.0);
    // The box around the ink, and the ink's centre of mass.
    let (mut low, mut high) = ([side; 2], [0; 2]);
    let (mut mass, mut moment) = (0.0, [0.0; 2]);
    for (x, y) in (0..side).flat_map(|y| (0..side).map(move |x| (x, y))) {
        let m = at(x, y);
        if m > 0.1 {
            low = [low[0].min(x), low[1].min(y)];
            high = [high[0].max(x + 1), high[1].max(y + 1)];
            mass += m;
            moment = [moment[0] + m * (x as f32 + 0.5), moment[1] + m * (y as f32 + 0.5)];
        }
    }
    if mass == 0.0 {
        return None;
    }
    let centre = moment.map(|m| m / mass);
    let longest = (high[0] - low[0]).max(high[1] - low[1]);
    // Pixels of the drawing to a pixel of the image.
    let scale = longest as f32 / INK;
    let sample = |image: usize, part: usize, centre: f32| {
        let offset = (part as f32 + 0.5) / SAMPLES as f32;
        (image as f32 + offset - SIDE as f32 / 2.0) * scale + centre
    };
    let value = |x: f32, y: f32| if x < 0.0 || y < 0.0 || x >= side as f32 || y >= side as f32 { 0.0 } else { at(x as usize, y as usize) };
    let parts = || (0..SAMPLES).flat_map(|j| (0..SAMPLES).map(move |i| (i, j)));
    let pixel = |x: usize, y: usize| {
        let sum: f32 = parts().map(|(i, j)| value(sample(x, i, centre[0]), sample(y, j, centre[1]))).sum();
        sum / (SAMPLES * SAMPLES) as f32
    };
    Some((0..SIDE * SIDE).map(|i| pixel(i % SIDE, i / SIDE)).collect())
}
