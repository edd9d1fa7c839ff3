//! The table at the end of a pack: what makes the index rebuildable from packs alone.
//!
//! Skippable frame: magic, u32 length, then the zstd-compressed JSON lines, then a trailer of 16 bytes:
//! u32 length of the compressed lines, u32 CRC-32 of them, eight bytes `CATHPACK`.

use cathedral_model::canonical;
use cathedral_model::ports::PortError;

use crate::frame::{self, SKIPPABLE};
use crate::index::{Line, Record, check_record, parse_line};

const MARK: &[u8; 8] = b"CATHPACK";
/// Length of the trailer.
pub const TRAILER: usize = 16;
/// The largest table that is read.
const TABLE_MAX: u64 = 256 << 20;

/// Writes the skippable frame.
pub fn write(records: &[Record]) -> Result<Vec<u8>, PortError> {
    let unwritable = |e: &dyn std::fmt::Display| PortError::permanent(format!("cannot write a pack's table: {e}"));
    let mut lines = String::new();
    for record in records {
        lines.push_str(&canonical::to_string(&Line::chunk(record, None)).map_err(|e| unwritable(&e))?);
        lines.push('\n');
    }
    let packed = zstd::bulk::compress(lines.as_bytes(), 3).map_err(|e| unwritable(&e))?;
    let length = u32::try_from(packed.len()).map_err(|e| unwritable(&e))?;
    let mut out = Vec::with_capacity(packed.len() + 24);
    out.extend_from_slice(&SKIPPABLE.to_le_bytes());
    out.extend_from_slice(&(length + TRAILER as u32).to_le_bytes());
    out.extend_from_slice(&packed);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32(&packed).to_le_bytes());
    out.extend_from_slice(MARK);
    Ok(out)
}

/// Returns how many bytes before the end of the plain pack the whole skippable frame takes, given the
/// last [`TRAILER`] bytes.
pub fn frame_len(trailer: &[u8]) -> Result<u64, &'static str> {
    let (length, rest) = trailer.split_first_chunk::<4>().ok_or("pack has no table")?;
    if rest.get(4..) != Some(MARK.as_slice()) {
        return Err("pack has no table");
    }
    Ok(u64::from(u32::from_le_bytes(*length)) + 8 + TRAILER as u64)
}

/// Reads the skippable frame of a pack with `plain` bytes in all.
pub fn read(frame: &[u8], plain: u64) -> Result<Vec<Record>, String> {
    let start = frame.len().checked_sub(TRAILER).ok_or("pack has no table")?;
    if frame_len(&frame[start..])? != frame.len() as u64 || frame.get(..4) != Some(&SKIPPABLE.to_le_bytes()) {
        return Err("pack's table has a wrong length".into());
    }
    let packed = &frame[8..start];
    let crc = frame[start + 4..start + 8].iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b));
    if crc != crc32(packed) {
        return Err("pack's table has a wrong checksum".into());
    }
    let lines = frame::decode_all(packed, TABLE_MAX).map_err(|e| e.to_string())?;
    let mut records = Vec::new();
    for line in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        if let Some(Line::Chunk { id, o, l, u, k, z, .. }) = parse_line(line)? {
            let record = Record { id, offset: o, frame: l, plain: u, kind: k, coding: z };
            check_record(&record, plain)?;
            records.push(record);
        }
    }
    Ok(records)
}

/// CRC-32 (IEEE 802.3), bit by bit: tables are small, and the AEAD is what protects them.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
