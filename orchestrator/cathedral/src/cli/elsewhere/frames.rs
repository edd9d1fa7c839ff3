//! The frames of a command's answer (`cathedral_web::api::commands`), read as they arrive.

/// The longest frame that is taken: a hub sends 64 KiB at most.
const MOST: usize = 1 << 20;
const HEAD: usize = 8;

/// What a hub says.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Out(Vec<u8>),
    Err(Vec<u8>),
    Exit(u8),
}

/// What has arrived and is not a whole frame yet.
#[derive(Debug, Default)]
pub struct Frames {
    waiting: Vec<u8>,
}

impl Frames {
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Takes the next whole frame.
    pub fn next(&mut self) -> Result<Option<Frame>, &'static str> {
        let Some((head, rest)) = self.waiting.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length > MOST || head[1..4] != [0; 3] {
            return Err("what it sent cannot be read");
        }
        let kind = head[0];
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        let frame = match (kind, bytes) {
            (0, [code]) => Frame::Exit(*code),
            (1, _) => Frame::Out(bytes.to_vec()),
            (2, _) => Frame::Err(bytes.to_vec()),
            _ => return Err("what it sent cannot be read"),
        };
        self.waiting.drain(..HEAD + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole_however_the_bytes_arrive() {
        let sent =
            [&[1, 0, 0, 0, 0, 0, 0, 2][..], b"ab", &[2, 0, 0, 0, 0, 0, 0, 1], b"!", &[0, 0, 0, 0, 0, 0, 0, 1, 12]]
                .concat();
        for step in 1..sent.len() {
            let mut frames = Frames::default();
            let mut found = vec![];
            for piece in sent.chunks(step) {
                frames.push(piece);
                while let Some(frame) = frames.next().expect("frames") {
                    found.push(frame);
                }
            }
            assert_eq!(found, [Frame::Out(b"ab".to_vec()), Frame::Err(b"!".to_vec()), Frame::Exit(12)], "{step}");
        }
    }

    #[test]
    fn what_is_no_frame_ends_the_reading() {
        for wrong in [[1, 0, 0, 0, 255, 0, 0, 0], [9, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0], [0; 8]] {
            let mut frames = Frames::default();
            frames.push(&wrong);
            assert!(frames.next().is_err(), "{wrong:?}");
        }
    }
}
