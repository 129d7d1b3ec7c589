//! Depthwise convolution: the weights of one filter per channel, and which inputs each output sees.
//!
//! Two taps make a pair, so that one 16-bit multiply-and-add-pairs serves two taps of a channel.
//! The last pair is completed by a tap of weight 0.

/// A 5 x 5 filter and the tap that completes its last pair.
const MAX_TAPS: usize = 26;

/// One square filter per channel, sides 3 or 5, with zero padding as TensorFlow's "SAME".
#[derive(Clone)]
pub struct DepthwiseFilter {
    channels: usize,
    size: usize,
    stride: usize,
    /// `[tap pairs, channels, 2]`
    weights: Vec<i16>,
    /// What a tap outside the image sees, `[channels]`.
    outside: Vec<i8>,
}

/// The inputs of one output pixel, each tap `channels` long.
pub(super) type Taps<'a> = [&'a [i8]; MAX_TAPS];

impl DepthwiseFilter {
    /// Takes `weights`, `[size * size, channels]`: taps from top left, row by row.
    ///
    /// # Panics
    ///
    /// If `channels` is 0, `size` is not 3 or 5, `stride` is not 1 or 2, or the length does not fit.
    pub fn new(channels: usize, size: usize, stride: usize, weights: &[i8]) -> Self {
        assert!(channels > 0, "a depthwise filter needs channels");
        assert!(size == 3 || size == 5, "no depthwise filter of size {size}");
        assert!(stride == 1 || stride == 2, "no depthwise filter of stride {stride}");
        assert_eq!(weights.len(), size * size * channels, "weights do not fill the filter");
        let mut pairs = vec![0; (size * size).next_multiple_of(2) * channels];
        for (tap, weights) in weights.chunks_exact(channels).enumerate() {
            for (channel, &weight) in weights.iter().enumerate() {
                pairs[(tap / 2 * channels + channel) * 2 + tap % 2] = i16::from(weight);
            }
        }
        Self { channels, size, stride, weights: pairs, outside: vec![0; channels] }
    }

    /// Height or width of the output for that of the input.
    pub fn output_size(&self, input: usize) -> usize {
        input.div_ceil(self.stride)
    }

    /// Number of channels, of input and output.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// For each pair of taps the weights of the channels from `first` on, two for each channel.
    pub(super) fn weights_from(&self, first: usize) -> impl Iterator<Item = &[i16]> {
        self.weights[2 * first..].chunks(2 * self.channels)
    }

    /// The sum of one channel.
    pub(super) fn channel_sum(&self, taps: &Taps<'_>, channel: usize) -> i32 {
        let pairs = self.weights_from(channel).zip(taps.chunks_exact(2));
        let products = pairs.map(|(weights, taps)| {
            let product = |tap: usize| i32::from(weights[tap]) * i32::from(taps[tap][channel]);
            product(0) + product(1)
        });
        products.sum()
    }

    /// Calls `pixel(taps, out)` for each output pixel of the NHWC image `input`.
    #[inline(always)]
    pub(super) fn for_each_pixel(
        &self,
        input: &[i8],
        (height, width): (usize, usize),
        out: &mut [i8],
        mut pixel: impl FnMut(&Taps<'_>, &mut [i8]),
    ) {
        let (above, before) = (self.padding(height), self.padding(width));
        let mut taps = [self.outside.as_slice(); MAX_TAPS];
        let rows = out.chunks_exact_mut(self.output_size(width) * self.channels);
        for (row, out) in rows.enumerate() {
            for (col, out) in out.chunks_exact_mut(self.channels).enumerate() {
                // Above or left of the image the subtraction wraps to a value beyond its end.
                let top = (row * self.stride).wrapping_sub(above);
                let left = (col * self.stride).wrapping_sub(before);
                self.find_taps(input, (height, width), (top, left), &mut taps);
                pixel(&taps, out);
            }
        }
    }

    /// Sets all taps but that of weight 0.
    #[inline(always)]
    fn find_taps<'a>(
        &'a self,
        input: &'a [i8],
        (height, width): (usize, usize),
        (top, left): (usize, usize),
        taps: &mut Taps<'a>,
    ) {
        for (ky, taps) in taps.chunks_exact_mut(self.size).take(self.size).enumerate() {
            let y = top.wrapping_add(ky);
            for (kx, tap) in taps.iter_mut().enumerate() {
                let x = left.wrapping_add(kx);
                *tap = if y < height && x < width {
                    &input[(y * width + x) * self.channels..][..self.channels]
                } else {
                    &self.outside
                };
            }
        }
    }

    /// Zeros in front of an axis of length `input`.
    fn padding(&self, input: usize) -> usize {
        let needed = (self.output_size(input) - 1) * self.stride + self.size;
        needed.saturating_sub(input) / 2
    }
}

impl std::fmt::Debug for DepthwiseFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channels, size, stride, .. } = self;
        write!(f, "DepthwiseFilter({channels} x {size} x {size}, stride {stride})")
    }
}
