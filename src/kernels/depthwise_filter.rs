//! Depthwise convolution: the weights of one filter per channel, and which inputs each output sees.
//!
//! Two taps make a pair, so that one 16-bit multiply-and-add-pairs serves two taps of a channel. The
//! last pair is completed by a tap of weight 0.

/// Channels are padded to a multiple of this.
pub(super) const CHANNEL_GROUP: usize = 8;
/// Values of a pair of taps for a group of channels.
pub(super) const GROUP_PAIR: usize = 2 * CHANNEL_GROUP;
/// A 5 x 5 filter and the tap that completes its last pair.
const MAX_TAPS: usize = 26;

/// One square filter per channel, sides 3 or 5, with zero padding as TensorFlow's "SAME".
#[derive(Clone)]
pub struct DepthwiseFilter {
    channels: usize,
    size: usize,
    stride: usize,
    /// `[channel groups, tap pairs, 8, 2]`
    weights: Vec<i16>,
    /// What a tap outside the image sees, `[channels]`.
    outside: Vec<i8>,
}

/// The inputs of one output pixel, `[channels]` for each tap.
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
        let mut filter =
            Self { channels, size, stride, weights: vec![], outside: vec![0; channels] };
        let groups = channels.div_ceil(CHANNEL_GROUP);
        filter.weights = vec![0; groups * filter.pairs() * GROUP_PAIR];
        for (tap, weights) in weights.chunks_exact(channels).enumerate() {
            for (channel, &weight) in weights.iter().enumerate() {
                let position = filter.position(tap, channel);
                filter.weights[position] = i16::from(weight);
            }
        }
        filter
    }

    /// Height or width of the output for that of the input.
    pub fn output_size(&self, input: usize) -> usize {
        input.div_ceil(self.stride)
    }

    /// Number of channels, of input and output.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Pairs of taps.
    pub(super) fn pairs(&self) -> usize {
        (self.size * self.size).div_ceil(2)
    }

    /// Weights of the whole groups of 8 channels and the rest, each group `[pairs, 8, 2]`.
    pub(super) fn groups(&self) -> std::slice::ChunksExact<'_, i16> {
        self.weights.chunks_exact(self.pairs() * GROUP_PAIR)
    }

    /// The sum of one channel.
    pub(super) fn channel_sum(&self, taps: &Taps<'_>, channel: usize) -> i32 {
        let products = (0..self.size * self.size).map(|tap| {
            i32::from(self.weights[self.position(tap, channel)]) * i32::from(taps[tap][channel])
        });
        products.sum()
    }

    /// The inputs of output `pixel`, counted row by row, in the NHWC image `input`.
    pub(super) fn taps<'a>(
        &'a self,
        input: &'a [i8],
        height: usize,
        width: usize,
        pixel: usize,
    ) -> Taps<'a> {
        let out_width = self.output_size(width);
        let top = pixel / out_width * self.stride;
        let left = pixel % out_width * self.stride;
        let (above, before) = (self.padding(height), self.padding(width));
        let mut taps = [self.outside.as_slice(); MAX_TAPS];
        for ky in 0..self.size {
            for kx in 0..self.size {
                // Above or left of the image the subtraction wraps to a value beyond its end.
                let y = (top + ky).wrapping_sub(above);
                let x = (left + kx).wrapping_sub(before);
                if y < height && x < width {
                    let start = (y * width + x) * self.channels;
                    taps[ky * self.size + kx] = &input[start..start + self.channels];
                }
            }
        }
        taps
    }

    /// Zeros in front of an axis of length `input`.
    fn padding(&self, input: usize) -> usize {
        let needed = (self.output_size(input) - 1) * self.stride + self.size;
        needed.saturating_sub(input) / 2
    }

    fn position(&self, tap: usize, channel: usize) -> usize {
        let pair = channel / CHANNEL_GROUP * self.pairs() + tap / 2;
        pair * GROUP_PAIR + channel % CHANNEL_GROUP * 2 + tap % 2
    }
}

impl std::fmt::Debug for DepthwiseFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channels, size, stride, .. } = self;
        write!(f, "DepthwiseFilter({channels} x {size} x {size}, stride {stride})")
    }
}
