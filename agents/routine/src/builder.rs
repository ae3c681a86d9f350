//! A request under construction: each part is added to its parent by the number that the parent was given.

use alidade_model::{
    request::{Album, Constraints, Origin, Plan, Request, RequestFault, Sequence, Target, Timing},
    time::UtcTime,
};

/// A part was added to a parent that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no {parent} number {number}")]
pub struct NoParent {
    pub parent: &'static str,
    pub number: usize,
}

/// Starts empty; `finish` checks the whole.
#[derive(Debug, Clone)]
pub struct RequestBuilder {
    request: Request,
}

impl RequestBuilder {
    pub fn new(id: &str, title: &str, user: &str, submitted_at: UtcTime) -> Self {
        Self {
            request: Request {
                id: id.into(),
                title: title.into(),
                user: user.into(),
                origin: Origin::Routine,
                submitted_at,
                sequences: Vec::new(),
            },
        }
    }

    /// For a request that follows an alert.
    pub fn following(mut self, event: &str, strategy: &str) -> Self {
        self.request.origin = Origin::Alert {
            event: event.into(),
            strategy: strategy.into(),
        };
        self
    }

    /// Adds a sequence and returns its number.
    pub fn sequence(&mut self, target: Target, priority: f64, constraints: Constraints) -> usize {
        let number = self.request.sequences.len();
        self.request.sequences.push(Sequence {
            id: format!("{}-{}", self.request.id, number + 1),
            request: self.request.id.clone(),
            user: self.request.user.clone(),
            target,
            priority,
            window: None,
            t_prefered: None,
            constraints,
            timing: Timing::default(),
            albums: Vec::new(),
        });
        number
    }

    /// Limits a sequence to a window.
    pub fn window(&mut self, sequence: usize, start: UtcTime, end: UtcTime) -> Result<(), NoParent> {
        self.sequence_mut(sequence)?.window = Some((start, end));
        Ok(())
    }

    /// Adds an album to a sequence and returns its number.
    pub fn album(&mut self, sequence: usize, channel: &str) -> Result<usize, NoParent> {
        let sequence = self.sequence_mut(sequence)?;
        sequence.albums.push(Album {
            channel: channel.into(),
            plans: Vec::new(),
        });
        Ok(sequence.albums.len() - 1)
    }

    pub fn plan(&mut self, sequence: usize, album: usize, plan: Plan) -> Result<(), NoParent> {
        let sequence = self.sequence_mut(sequence)?;
        let album = sequence.albums.get_mut(album).ok_or(NoParent {
            parent: "album",
            number: album,
        })?;
        album.plans.push(plan);
        Ok(())
    }

    fn sequence_mut(&mut self, number: usize) -> Result<&mut Sequence, NoParent> {
        self.request.sequences.get_mut(number).ok_or(NoParent {
            parent: "sequence",
            number,
        })
    }

    /// Checks the numbers and hands the request over.
    pub fn finish(self) -> Result<Request, RequestFault> {
        self.request.check()?;
        Ok(self.request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn m51() -> Target {
        Target {
            name: "M 51".into(),
            ra_deg: 202.47,
            dec_deg: 47.2,
        }
    }

    fn r() -> Plan {
        Plan {
            filter: "r".into(),
            exposure_s: 30.0,
            count: 3,
            binning: 1,
            dither_arcsec: 0.0,
        }
    }

    #[test]
    fn a_request_is_built_from_the_outside_in() {
        let mut builder = RequestBuilder::new("r1", "M 51", "ada", UtcTime::from_unix_micros(0).unwrap());
        let sequence = builder.sequence(m51(), 5.0, Constraints::default());
        let album = builder.album(sequence, "vis").unwrap();
        builder.plan(sequence, album, r()).unwrap();
        let request = builder.finish().unwrap();
        assert_eq!(request.sequences[0].id, "r1-1");
        assert_eq!(request.sequences[0].duration_s(2.0), 96.0);
    }

    #[test]
    fn a_part_needs_its_parent_and_a_sequence_something_to_do() {
        let mut builder = RequestBuilder::new("r1", "M 51", "ada", UtcTime::from_unix_micros(0).unwrap());
        assert_eq!(
            builder.album(0, "vis"),
            Err(NoParent {
                parent: "sequence",
                number: 0
            })
        );
        builder.sequence(m51(), 5.0, Constraints::default());
        assert!(matches!(builder.finish(), Err(RequestFault::NothingToExpose { .. })));
    }
}
