//! What faults do to an answer on its way to the daemon. Pure: an answer, the faults that hold, and what was said before.

use crate::faults::FaultKind;
use crate::random::Random;
use std::collections::BTreeMap;

/// More bytes than any message of any device here has.
const FAR_TOO_MANY: usize = 70_000;

/// What was said before, per device; kept only for devices with a fault that needs it.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    /// The last answer.
    last: BTreeMap<String, Vec<u8>>,
    /// The last answer to each question, as it stood before the fault began.
    answers: BTreeMap<(String, Vec<u8>), Vec<u8>>,
}

/// Whether a fault can only be played with a tape of what was said before.
pub fn needs_tape(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::OtherReply | FaultKind::StaleReplies)
}

impl Tape {
    /// The answer as it goes on the wire, with the faults that hold now.
    pub fn play(
        &mut self,
        device: &str,
        question: &[u8],
        answer: Vec<u8>,
        holds: &[FaultKind],
        noise: &mut Random,
    ) -> Vec<u8> {
        let key = (device.to_owned(), unnumbered(question).to_vec());
        let mut sent = if holds.contains(&FaultKind::StaleReplies) && is_question(question) {
            match self.answers.get(&key) {
                Some(old) => renumbered(old, question),
                None => answer,
            }
        } else {
            self.answers.insert(key, answer.clone());
            answer
        };
        let before = self.last.insert(device.to_owned(), sent.clone());
        if holds.contains(&FaultKind::OtherReply) {
            sent = before.unwrap_or_default();
        }
        distort(sent, holds, noise)
    }
}

/// Applies the faults that need no memory.
pub fn distort(mut answer: Vec<u8>, holds: &[FaultKind], noise: &mut Random) -> Vec<u8> {
    for kind in holds {
        match kind {
            FaultKind::HalfMessage => answer.truncate(answer.len() / 2),
            FaultKind::Oversized => {
                answer.splice(0..0, std::iter::repeat_n(b'x', FAR_TOO_MANY));
            }
            FaultKind::WrongEncoding => answer = answer.iter().flat_map(|byte| [*byte, 0x80]).collect(),
            FaultKind::WrongChecksum => spoil(&mut answer),
            FaultKind::Garbage => {
                let count = 1 + noise.below(12);
                let bytes: Vec<u8> = (0..count).map(|_| (noise.bits() & 0xff) as u8).collect();
                answer.splice(0..0, bytes);
            }
            _ => {}
        }
    }
    answer
}

/// Makes every NMEA checksum wrong by one, or the counter that the PYROS framing echoes.
fn spoil(answer: &mut [u8]) {
    let sums: Vec<usize> = (0..answer.len().saturating_sub(2))
        .filter(|at| answer[*at] == b'*')
        .collect();
    for at in &sums {
        answer[at + 2] = if answer[at + 2] == b'0' { b'1' } else { b'0' };
    }
    if sums.is_empty() && answer.len() >= 8 && answer[..8].iter().all(u8::is_ascii_digit) {
        answer[3] = if answer[3] == b'9' { b'0' } else { answer[3] + 1 };
    }
}

/// True for what asks about a state; commands of all dialects have an argument in braces or begin with DO or SET.
fn is_question(question: &[u8]) -> bool {
    let words = unnumbered(question);
    !(words.contains(&b'{') || words.starts_with(b"DO") || words.starts_with(b"SET"))
}

/// Without the eight digits of the PYROS framing.
fn unnumbered(question: &[u8]) -> &[u8] {
    match question.split_at_checked(8) {
        Some((head, words)) if head.iter().all(u8::is_ascii_digit) => words,
        _ => question,
    }
}

/// An old answer under the number of the present question.
fn renumbered(old: &[u8], question: &[u8]) -> Vec<u8> {
    let mut answer = old.to_vec();
    if unnumbered(question).len() != question.len() && answer.len() >= 8 {
        answer[..8].copy_from_slice(&question[..8]);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_drivers::station::{fields, sentence};

    fn noise() -> Random {
        Random::new(1)
    }

    #[test]
    fn a_spoilt_sentence_fails_its_checksum_and_a_spoilt_counter_is_another() {
        let spoilt = distort(
            sentence("WIMWV,1,R,2,M,A").into_bytes(),
            &[FaultKind::WrongChecksum],
            &mut noise(),
        );
        assert_eq!(fields(&String::from_utf8(spoilt).unwrap()), None);
        let answer = distort(b"00410000OK 1 0\0".to_vec(), &[FaultKind::WrongChecksum], &mut noise());
        assert!(answer.starts_with(b"00420000OK"));
    }

    #[test]
    fn a_cache_answers_questions_with_what_was_and_passes_commands() {
        let mut tape = Tape::default();
        let stale = [FaultKind::StaleReplies];
        tape.play("plc", b"StatusB", b"closed".to_vec(), &[], &mut noise());
        let shown = tape.play("plc", b"StatusB", b"open".to_vec(), &stale, &mut noise());
        assert_eq!(shown, b"closed");
        let passed = tape.play("plc", b"Dome{CLOSE}", b"OK".to_vec(), &stale, &mut noise());
        assert_eq!(passed, b"OK");
        tape.play(
            "wheel",
            b"00010000GET STATUS",
            b"00010000OK 1 0".to_vec(),
            &[],
            &mut noise(),
        );
        let numbered = tape.play(
            "wheel",
            b"00070000GET STATUS",
            b"00070000OK 3 0".to_vec(),
            &stale,
            &mut noise(),
        );
        assert_eq!(numbered, b"00070000OK 1 0");
    }

    #[test]
    fn answers_slip_by_one() {
        let mut tape = Tape::default();
        let slipped = [FaultKind::OtherReply];
        tape.play("plc", b"StatusA", b"a".to_vec(), &[], &mut noise());
        assert_eq!(
            tape.play("plc", b"StatusB", b"b".to_vec(), &slipped, &mut noise()),
            b"a"
        );
        assert_eq!(
            tape.play("plc", b"StatusD", b"d".to_vec(), &slipped, &mut noise()),
            b"b"
        );
    }

    #[test]
    fn halves_and_floods_have_their_lengths() {
        assert_eq!(
            distort(b"12345678\n".to_vec(), &[FaultKind::HalfMessage], &mut noise()),
            b"1234"
        );
        let flood = distort(b"\n".to_vec(), &[FaultKind::Oversized], &mut noise());
        assert_eq!(flood.len(), FAR_TOO_MANY + 1);
    }
}
