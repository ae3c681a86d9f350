//! Facts into tables: what each fact means for what can be asked later.
//!
//! A projection never refuses a fact. A fact that mentions something unknown, or comes twice under two numbers,
//! changes what it can: the first row of a key stays, a state is overwritten by the later one.

mod alerts;
mod frames;
mod night;
mod observing;

use super::{connection::AnyConnection, rows::naive};
use alidade_model::{
    journal::{Entry, Fact},
    time::UtcTime,
};
use chrono::NaiveDateTime;
use diesel::QueryResult;

/// Where in the journal a fact stands.
#[derive(Clone, Copy)]
struct Place {
    seq: u64,
    at: NaiveDateTime,
}

impl Place {
    fn new(seq: u64, at: UtcTime) -> Self {
        Self { seq, at: naive(at) }
    }

    fn row(self) -> i64 {
        super::rows::whole(self.seq)
    }
}

/// What a fact's meaning takes from the facts just before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    /// The accepted packet that is being considered. The alerts agent records a packet and, without a pause, the
    /// moves and decisions of the events it touched; nothing but the facts listed in `project` comes between.
    packet: Option<String>,
}

/// Applies one fact, as one part of the transaction that appends it.
pub(super) fn project(c: &mut AnyConnection, entry: &Entry, context: &mut Context) -> QueryResult<()> {
    let place = Place::new(entry.seq, entry.at);
    match &entry.fact {
        Fact::PacketReceived { packet, verdict, .. } => {
            context.packet = (verdict == "act").then(|| packet.clone());
        }
        Fact::EventMoved { event, .. } | Fact::EventDecided { event, .. } => {
            if let Some(packet) = &context.packet {
                alerts::link(c, place, event, packet)?;
            }
        }
        Fact::AlertTiming { .. }
        | Fact::Alarm { .. }
        | Fact::RequestSubmitted { .. }
        | Fact::SequenceMoved { .. }
        | Fact::UserGranted { .. }
        | Fact::QuotaPosted { .. } => {}
        _ => context.packet = None,
    }
    apply(c, place, entry)
}

fn apply(c: &mut AnyConnection, place: Place, entry: &Entry) -> QueryResult<()> {
    match &entry.fact {
        Fact::UserGranted { user, institute, .. } => observing::user(c, place, user, institute),
        Fact::RequestSubmitted { request } => observing::request(c, place, request),
        Fact::SequenceMoved {
            sequence, to, cause, ..
        } => observing::sequence_moved(c, place, sequence, *to, cause),
        Fact::SequenceProgress { sequence, done } => observing::progress(c, sequence, done),
        Fact::QuotaPosted { posting } => observing::posting(c, place, posting),
        Fact::ScheduleMade { schedule } => observing::schedule(c, place, schedule),

        Fact::PacketReceived { .. }
        | Fact::EventMoved { .. }
        | Fact::EventDecided { .. }
        | Fact::AlertTiming { .. } => alerts::project(c, place, &entry.fact),

        Fact::ExposureStarted { .. }
        | Fact::ExposureEnded { .. }
        | Fact::ProductMade { .. }
        | Fact::FrameReduced { .. }
        | Fact::FrameSolved { .. }
        | Fact::RunMoved { .. }
        | Fact::UnitMoved { .. } => frames::project(c, place, &entry.fact),

        Fact::Started { .. }
        | Fact::DeviceIdentified { .. }
        | Fact::DeviceLink { .. }
        | Fact::DeviceGarbage { .. }
        | Fact::NightBegan { .. }
        | Fact::NightMoved { .. }
        | Fact::NightReported { .. }
        | Fact::Weather { .. }
        | Fact::OperatorCommand { .. }
        | Fact::Alarm { .. }
        | Fact::CandidatesFound { .. }
        | Fact::Degraded { .. }
        | Fact::InvariantBroken { .. } => night::project(c, place, &entry.fact),

        // The journal alone keeps these: they are read in order or not at all.
        Fact::Stopped { .. }
        | Fact::DeviceCommand { .. }
        | Fact::DeviceRead { .. }
        | Fact::PhaseEntered { .. }
        | Fact::SafetyChanged { .. }
        | Fact::EnclosureMoved { .. }
        | Fact::MountMoved { .. }
        | Fact::AlertReported { .. }
        | Fact::StrategyChanged { .. }
        | Fact::Corrected { .. }
        | Fact::AlarmNotified { .. }
        | Fact::AlarmAcknowledged { .. }
        | Fact::OverridePlaced { .. }
        | Fact::OverrideEnded { .. }
        | Fact::Halted { .. }
        | Fact::RequestRefused { .. } => Ok(()),
    }
}
