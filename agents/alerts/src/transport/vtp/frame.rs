//! Frames: a length of four bytes, big-endian, then that many bytes.
//!
//! VOEvent Transport Protocol 2.0 (IVOA Recommendation 2017), section 3.1. Pure: bytes in, frames out, nothing is
//! allocated on the word of a length.

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is beyond the limit.
    #[error("a frame of {length} bytes is beyond the limit of {limit}")]
    TooLarge {
        /// Announced.
        length: u64,
        /// Allowed.
        limit: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended {missing} bytes before the end of a frame")]
    EofInFrame {
        /// How many bytes are missing, of the length or of the frame.
        missing: usize,
    },
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// How much of the buffer was taken out as frames.
    taken: usize,
    limit: usize,
}

const PREFIX: usize = 4;

impl FrameDecoder {
    /// A decoder that refuses frames longer than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            limit,
        }
    }

    /// Takes in bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        // What was taken leaves the buffer here, not frame by frame: many small frames must not cost their square.
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    fn left(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }

    fn length(&self) -> Option<Result<usize, FrameError>> {
        let prefix: [u8; PREFIX] = self.left().get(..PREFIX)?.try_into().ok()?;
        let length = u32::from_be_bytes(prefix);
        let fits = usize::try_from(length).ok().filter(|length| *length <= self.limit);
        Some(fits.ok_or(FrameError::TooLarge {
            length: u64::from(length),
            limit: self.limit,
        }))
    }

    /// The next complete frame.
    ///
    /// # Errors
    /// When the announced length is beyond the limit; the stream cannot be read on.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some(length) = self.length().transpose()? else {
            return Ok(None);
        };
        let Some(frame) = self.left().get(PREFIX..PREFIX + length).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        self.taken += PREFIX + length;
        Ok(Some(frame))
    }

    /// Checks that the stream ended between frames.
    ///
    /// # Errors
    /// When bytes of an unfinished frame are left.
    pub fn finish(&self) -> Result<(), FrameError> {
        let left = self.left().len();
        if left == 0 {
            return Ok(());
        }
        let missing = match self.length() {
            Some(length) => (PREFIX + length?).saturating_sub(left),
            None => PREFIX - left,
        };
        if missing == 0 {
            Ok(())
        } else {
            Err(FrameError::EofInFrame { missing })
        }
    }
}

/// A frame of these bytes.
///
/// # Errors
/// When they are more than a length can say.
pub fn encode(bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(bytes.len()).map_err(|_| FrameError::TooLarge {
        length: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        limit: usize::try_from(u32::MAX).unwrap_or(usize::MAX),
    })?;
    let mut frame = Vec::with_capacity(PREFIX + bytes.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(bytes);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let stream = [
            encode(b"first").unwrap(),
            encode(b"").unwrap(),
            encode(b"third").unwrap(),
        ]
        .concat();
        let mut decoder = FrameDecoder::new(100);
        let mut frames = Vec::new();
        for byte in stream {
            decoder.push(&[byte]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [b"first".to_vec(), Vec::new(), b"third".to_vec()]);
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn four_gigabytes_are_refused_before_anything_is_allocated() {
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.push(&[0xFF, 0xFF, 0xFF, 0xFF]);
        assert_eq!(
            decoder.next_frame(),
            Err(FrameError::TooLarge {
                length: 0xFFFF_FFFF,
                limit: 1 << 20
            })
        );
    }

    #[test]
    fn an_end_inside_a_frame_is_told() {
        let mut decoder = FrameDecoder::new(100);
        decoder.push(&[0, 0, 0, 10, 1, 2]);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(decoder.finish(), Err(FrameError::EofInFrame { missing: 8 }));
        let mut decoder = FrameDecoder::new(100);
        decoder.push(&[0]);
        assert_eq!(decoder.finish(), Err(FrameError::EofInFrame { missing: 3 }));
    }
}
