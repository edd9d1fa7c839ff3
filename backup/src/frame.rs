//! zstd frames: one per chunk, always with its content size, never with a dictionary or a checksum.

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Magic of the skippable frame that holds a pack's table.
pub const SKIPPABLE: u32 = 0x184D_2A5C;
/// Magic of every zstd frame.
const MAGIC: u32 = 0xFD2F_B528;
const RAW_BLOCK: usize = 128 * 1024;

/// How a frame holds its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    Zstd,
    Raw,
}

/// Why a frame could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("frame is damaged: {0}")]
    Damaged(std::io::Error),
    #[error("frame says it holds {said:?} bytes where {recorded} are recorded")]
    Size { said: Option<u64>, recorded: u64 },
}

/// Makes frames, keeping one compression context.
pub struct Framer {
    compressor: Compressor<'static>,
}

impl Framer {
    /// Returns a framer of the given zstd level.
    pub fn new(level: i32) -> std::io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        compressor.set_parameter(CParameter::DictIdFlag(false))?;
        Ok(Self { compressor })
    }

    /// Frames bytes: compressed when that saves 3 % or more, else raw.
    pub fn frame(&mut self, plain: &[u8]) -> std::io::Result<(Coding, Vec<u8>)> {
        if plain.len() > 64 * 1024 && !self.looks_compressible(plain)? {
            return Ok((Coding::Raw, raw(plain)));
        }
        let packed = self.compressor.compress(plain)?;
        let saves = packed.len() + plain.len() / 33 < plain.len();
        Ok(if saves || plain.is_empty() { (Coding::Zstd, packed) } else { (Coding::Raw, raw(plain)) })
    }

    /// Tries 16 KiB from three places: compressing what cannot be compressed is most of a pass's cost.
    fn looks_compressible(&mut self, plain: &[u8]) -> std::io::Result<bool> {
        const SAMPLE: usize = 16 * 1024;
        let mut before = 0;
        let mut after = 0;
        for start in [0, (plain.len() - SAMPLE) / 2, plain.len() - SAMPLE] {
            let sample = &plain[start..start + SAMPLE];
            if entropy_is_high(sample) {
                before += sample.len();
                after += sample.len();
                continue;
            }
            before += sample.len();
            after += self.compressor.compress(sample)?.len();
        }
        Ok(after + before / 33 < before)
    }
}

/// Says whether bytes are spread so evenly that only a match finder could save anything.
fn entropy_is_high(sample: &[u8]) -> bool {
    let mut counts = [0u32; 256];
    sample.iter().for_each(|b| counts[*b as usize] += 1);
    let n = sample.len() as f64;
    let bits: f64 = counts.iter().filter(|c| **c > 0).map(|c| f64::from(*c) * (n / f64::from(*c)).log2()).sum();
    bits / n > 7.9
}

/// Writes a frame of raw blocks: magic, a single-segment header with 8-byte content size, blocks.
#[must_use]
pub fn raw(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + 13 + 3 * (plain.len() / RAW_BLOCK + 1));
    out.extend_from_slice(&MAGIC.to_le_bytes());
    // Frame_Content_Size_flag 3 (8 bytes), Single_Segment_flag, no checksum, no dictionary id.
    out.push(0b1110_0000);
    out.extend_from_slice(&(plain.len() as u64).to_le_bytes());
    let mut blocks = plain.chunks(RAW_BLOCK).peekable();
    if blocks.peek().is_none() {
        out.extend_from_slice(&[1, 0, 0]);
    }
    while let Some(block) = blocks.next() {
        let header = (block.len() as u32) << 3 | u32::from(blocks.peek().is_none());
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.extend_from_slice(block);
    }
    out
}

/// Decodes one frame that must hold exactly `size` bytes; a frame that claims more is refused before
/// anything is allocated.
pub fn decode(frame: &[u8], size: u64) -> Result<Vec<u8>, FrameError> {
    let said = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten();
    if said != Some(size) {
        return Err(FrameError::Size { said, recorded: size });
    }
    let plain = zstd::bulk::decompress(frame, size as usize).map_err(FrameError::Damaged)?;
    if plain.len() as u64 == size {
        Ok(plain)
    } else {
        Err(FrameError::Size { said: Some(plain.len() as u64), recorded: size })
    }
}

/// Decodes a whole object of zstd frames of at most `limit` bytes.
pub fn decode_all(bytes: &[u8], limit: u64) -> Result<Vec<u8>, FrameError> {
    use std::io::Read as _;
    let mut out = Vec::new();
    let reader = zstd::stream::read::Decoder::with_buffer(bytes).map_err(FrameError::Damaged)?;
    reader.take(limit + 1).read_to_end(&mut out).map_err(FrameError::Damaged)?;
    if out.len() as u64 > limit {
        return Err(FrameError::Size { said: Some(out.len() as u64), recorded: limit });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_sizes_come_back_and_noise_is_kept_raw() {
        let mut framer = Framer::new(3).expect("a level zstd has");
        let mut noise = vec![0; 300_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for size in [0, 1, 2, 65_535, 65_536, 131_072, 131_073, 300_000] {
            for (plain, expect) in [(&noise[..size], Coding::Raw), (&vec![7; size][..], Coding::Zstd)] {
                let (coding, frame) = framer.frame(plain).expect("compress");
                assert!(size < 64 || coding == expect, "{size} bytes became {coding:?}");
                assert_eq!(decode(&frame, size as u64).expect("decode"), plain);
                assert_eq!(decode(&raw(plain), size as u64).expect("decode raw"), plain);
            }
        }
    }

    #[test]
    fn a_frame_that_claims_another_size_is_refused() {
        let mut frame = raw(b"hello");
        frame[5..13].copy_from_slice(&(1u64 << 40).to_le_bytes());
        assert!(matches!(decode(&frame, 5), Err(FrameError::Size { .. })));
    }
}
