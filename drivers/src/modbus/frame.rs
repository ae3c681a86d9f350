//! Modbus frames: what is asked, how it is wrapped for TCP and for serial lines, and whether an answer belongs to it.
//!
//! Sources: MODBUS Application Protocol 1.1b3 (functions, exceptions), MODBUS Messaging on TCP/IP 1.0b (MBAP header), MODBUS
//! over Serial Line 1.02 (RTU framing, CRC). Everything but [`Talker::ask`] is pure.

use crate::wire::{Trouble, Wire};
use serde::{Deserialize, Serialize};

/// How messages are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// A header with a transaction number (TCP).
    Tcp,
    /// Address and checksum around the message (serial lines, or a serial line behind a terminal server).
    Rtu,
}

/// The four address spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Bits that can be written.
    Coil,
    /// Bits that cannot.
    Discrete,
    /// Words that cannot be written.
    Input,
    /// Words that can.
    Holding,
}

impl Table {
    fn read_function(self) -> u8 {
        match self {
            Table::Coil => 1,
            Table::Discrete => 2,
            Table::Holding => 3,
            Table::Input => 4,
        }
    }

    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::Discrete)
    }
}

/// Longest message of the protocol, bytes (1.1b3, 4.1).
const LONGEST_PDU: usize = 253;

/// "Read `count` bits or words from `address`."
pub fn read(table: Table, address: u16, count: u16) -> Vec<u8> {
    let mut pdu = vec![table.read_function()];
    pdu.extend(address.to_be_bytes());
    pdu.extend(count.to_be_bytes());
    pdu
}

/// "Set this coil."
pub fn write_coil(address: u16, on: bool) -> Vec<u8> {
    let mut pdu = vec![5];
    pdu.extend(address.to_be_bytes());
    pdu.extend(if on { [0xff, 0] } else { [0, 0] });
    pdu
}

/// "Set these holding registers."
pub fn write_words(address: u16, words: &[u16]) -> Vec<u8> {
    if let [word] = words {
        let mut pdu = vec![6];
        pdu.extend(address.to_be_bytes());
        pdu.extend(word.to_be_bytes());
        return pdu;
    }
    let mut pdu = vec![16];
    pdu.extend(address.to_be_bytes());
    let count = u16::try_from(words.len()).unwrap_or(u16::MAX);
    pdu.extend(count.to_be_bytes());
    pdu.push(u8::try_from(words.len() * 2).unwrap_or(u8::MAX));
    pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    pdu
}

/// The checksum of RTU frames: CRC-16, polynomial 0xA001 reflected, begun with 0xFFFF; low byte first on the line.
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ 0xa001 } else { sum >> 1 }
        })
    })
}

/// What an answer may be wrong with.
fn garbage(what: impl Into<String>) -> Trouble {
    Trouble::Garbage(what.into())
}

/// The message of an exception code (1.1b3, section 7).
fn exception(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "server device failure",
        5 => "acknowledge",
        6 => "server device busy",
        8 => "memory parity error",
        10 => "gateway path unavailable",
        11 => "gateway target device failed to respond",
        _ => "unknown exception",
    }
}

/// What follows the function code of an answer that belongs to `asked`.
pub fn answer<'a>(asked: &[u8], reply: &'a [u8]) -> Result<&'a [u8], Trouble> {
    let (Some(function), Some((answered, rest))) = (asked.first(), reply.split_first()) else {
        return Err(garbage("an empty message"));
    };
    if *answered == function | 0x80 {
        let code = *rest.first().ok_or_else(|| garbage("an exception without its code"))?;
        return Err(Trouble::Refused {
            code: i32::from(code),
            message: exception(code).into(),
        });
    }
    if answered != function {
        return Err(garbage(format!("function {answered} answers function {function}")));
    }
    if matches!(function, 5 | 6 | 15 | 16) {
        // The answer to a write repeats address and value, or address and count.
        return if rest == asked.get(1..5).unwrap_or_default() {
            Ok(rest)
        } else {
            Err(garbage("the echo of a write is another one's"))
        };
    }
    Ok(rest)
}

/// The bits of an answer to a read of `count` bits.
pub fn bits(rest: &[u8], count: u16) -> Result<Vec<bool>, Trouble> {
    let wanted = usize::from(count).div_ceil(8);
    match rest.split_first() {
        Some((length, bytes)) if usize::from(*length) == wanted && bytes.len() == wanted => Ok((0..usize::from(count))
            .map(|at| bytes[at / 8] >> (at % 8) & 1 == 1)
            .collect()),
        _ => Err(garbage(format!("{} bytes for {count} bits", rest.len()))),
    }
}

/// The words of an answer to a read of `count` words.
pub fn words(rest: &[u8], count: u16) -> Result<Vec<u16>, Trouble> {
    let wanted = usize::from(count) * 2;
    match rest.split_first() {
        Some((length, bytes)) if usize::from(*length) == wanted && bytes.len() == wanted => Ok(bytes
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect()),
        _ => Err(garbage(format!("{} bytes for {count} words", rest.len()))),
    }
}

/// Length of the message behind an MBAP header that belongs to transaction and unit.
pub fn tcp_length(header: &[u8], transaction: u16, unit: u8) -> Result<(usize, Result<(), Trouble>), Trouble> {
    let [t0, t1, p0, p1, l0, l1, from] = *header else {
        return Err(garbage("a short header"));
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if (p0, p1) != (0, 0) || !(2..=LONGEST_PDU + 1).contains(&length) {
        // Where the next message begins is lost with this.
        return Err(Trouble::Astray(format!("no Modbus header: {header:02x?}")));
    }
    let found = u16::from_be_bytes([t0, t1]);
    let ours = if found != transaction {
        Err(garbage(format!(
            "answer to transaction {found} instead of {transaction}"
        )))
    } else if from != unit {
        Err(garbage(format!("answer of unit {from} instead of {unit}")))
    } else {
        Ok(())
    };
    Ok((length - 1, ours))
}

/// Wraps, sends, waits for the answer and unwraps it.
#[derive(Debug)]
pub struct Talker {
    framing: Framing,
    unit: u8,
    transaction: u16,
}

impl Talker {
    pub fn new(framing: Framing, unit: u8) -> Self {
        Self {
            framing,
            unit,
            transaction: 0,
        }
    }

    /// Asks `pdu` and returns what follows the function code of its answer.
    pub async fn ask(&mut self, wire: &mut Wire, pdu: &[u8]) -> Result<Vec<u8>, Trouble> {
        let reply = match self.framing {
            Framing::Tcp => self.over_tcp(wire, pdu).await?,
            Framing::Rtu => self.over_rtu(wire, pdu).await?,
        };
        answer(pdu, &reply).map(<[u8]>::to_vec)
    }

    async fn over_tcp(&mut self, wire: &mut Wire, pdu: &[u8]) -> Result<Vec<u8>, Trouble> {
        self.transaction = self.transaction.wrapping_add(1);
        let mut message = self.transaction.to_be_bytes().to_vec();
        message.extend([0, 0]);
        message.extend(u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX).to_be_bytes());
        message.push(self.unit);
        message.extend(pdu);
        wire.send(&message).await?;
        let header = wire.exactly(7).await?;
        let (length, ours) = tcp_length(&header, self.transaction, self.unit)?;
        let reply = wire.exactly(length).await?;
        ours.map(|()| reply)
    }

    async fn over_rtu(&mut self, wire: &mut Wire, pdu: &[u8]) -> Result<Vec<u8>, Trouble> {
        // What is left on the line answers nothing that is asked now.
        wire.discard();
        let mut message = vec![self.unit];
        message.extend(pdu);
        message.extend(crc(&message).to_le_bytes());
        wire.send(&message).await?;
        let mut reply = wire.exactly(3).await?;
        let more = match reply[1] {
            code if code & 0x80 != 0 => 2,
            1..=4 => usize::from(reply[2]) + 2,
            5 | 6 | 15 | 16 => 5,
            other => return Err(garbage(format!("function {other}"))),
        };
        reply.extend(wire.exactly(more).await?);
        let (body, sum) = reply.split_at(reply.len() - 2);
        if crc(body).to_le_bytes() != *sum {
            return Err(garbage("wrong checksum"));
        }
        if body[0] != self.unit {
            return Err(garbage(format!("answer of unit {} instead of {}", body[0], self.unit)));
        }
        Ok(body[1..].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // MODBUS over Serial Line 1.02, 6.2.2: slave 2, function 7 gives 0x1241.
        assert_eq!(crc(&[0x02, 0x07]), 0x1241);
    }

    #[test]
    fn questions_look_as_in_the_standard() {
        assert_eq!(read(Table::Holding, 107, 3), [3, 0, 0x6b, 0, 3]);
        assert_eq!(write_coil(172, true), [5, 0, 0xac, 0xff, 0]);
        assert_eq!(write_words(1, &[3]), [6, 0, 1, 0, 3]);
        assert_eq!(write_words(1, &[0x000a, 0x0102]), [16, 0, 1, 0, 2, 4, 0, 0x0a, 1, 2]);
    }

    #[test]
    fn an_answer_belongs_to_its_question_or_is_refused() {
        let asked = read(Table::Holding, 107, 3);
        let rest = answer(&asked, &[3, 6, 2, 0x2b, 0, 0, 0, 0x64]).unwrap();
        assert_eq!(words(rest, 3).unwrap(), [0x022b, 0, 0x64]);
        assert!(words(rest, 2).is_err());
        assert!(matches!(answer(&asked, &[4, 6]), Err(Trouble::Garbage(_))));
        assert!(
            matches!(answer(&asked, &[0x83, 2]), Err(Trouble::Refused { code: 2, message }) if message == "illegal data address")
        );
        let rest = answer(&read(Table::Coil, 0, 10), &[1, 2, 0b1010_0001, 0b10]).unwrap();
        let found = bits(rest, 10).unwrap();
        assert_eq!(found.iter().filter(|on| **on).count(), 4);
        assert!(found[0] && !found[1] && found[9]);
        assert!(
            answer(&write_coil(1, true), &[5, 0, 2, 0xff, 0]).is_err(),
            "another coil's echo"
        );
    }

    /// Lets `bytes` answer one question.
    fn told(framing: Framing, bytes: Vec<u8>) -> (Result<Vec<u8>, Trouble>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            theirs.write_all(&bytes).await.unwrap();
            theirs.shutdown().await.unwrap();
            let mut wire = Wire::new(Box::new(ours));
            let answer = Talker::new(framing, 1).ask(&mut wire, &read(Table::Input, 0, 1)).await;
            drop(wire);
            let mut sent = Vec::new();
            theirs.read_to_end(&mut sent).await.unwrap();
            (answer, sent)
        })
    }

    #[test]
    fn frames_go_and_come_in_both_framings() {
        let (answer, sent) = told(Framing::Tcp, vec![0, 1, 0, 0, 0, 5, 1, 4, 2, 0, 42]);
        assert_eq!(
            (answer.unwrap(), sent),
            (vec![2, 0, 42], vec![0, 1, 0, 0, 0, 6, 1, 4, 0, 0, 0, 1])
        );
        let mut reply = vec![1, 4, 2, 0, 42];
        reply.extend(crc(&reply).to_le_bytes());
        let (answer, sent) = told(Framing::Rtu, reply.clone());
        assert_eq!(answer.unwrap(), [2, 0, 42]);
        assert_eq!(sent, [1, 4, 0, 0, 0, 1, 0x31, 0xca]);
        reply[4] = 43;
        assert_eq!(
            told(Framing::Rtu, reply).0,
            Err(Trouble::Garbage("wrong checksum".into()))
        );
        // A late answer to the question before.
        let late = told(Framing::Tcp, vec![0, 9, 0, 0, 0, 5, 1, 4, 2, 0, 42]).0;
        assert!(matches!(late, Err(Trouble::Garbage(cause)) if cause.contains("transaction 9")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_believe_another_transaction(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let tcp = told(Framing::Tcp, bytes.clone()).0;
            if tcp.is_ok() {
                prop_assert_eq!(&bytes[..2], &[0u8, 1][..]);
            }
            if told(Framing::Rtu, bytes.clone()).0.is_ok() {
                prop_assert_eq!(bytes[0], 1);
            }
            let _ = answer(&read(Table::Coil, 0, 9), &bytes);
            let _ = bits(&bytes, 9);
            let _ = words(&bytes, 9);
        }
    }
}
