//! The event stream.
//!
//! | event | data | id |
//! |---|---|---|
//! | `state` | the snapshot | none |
//! | `journal` | one journal entry | its number |
//! | `gap` | `{"from": SEQ, "to": SEQ}`: entries no longer kept here, to be read from `/api/v1/journal` | none |
//! | `beat` | `{"snapshot_age_s": S}` every two seconds: the gateway lives; S tells whether the daemon does | none |
//!
//! A client that reconnects sends `Last-Event-ID` (browsers do so by themselves) and misses nothing. A client that
//! does not read is dropped; it comes back by itself.

use super::{
    Problem, Shared,
    hub::{Numbered, StateText, Subscription},
};
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    web::{Bytes, Data, Query},
};
use serde::Deserialize;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{
    broadcast::error::RecvError,
    mpsc::{self, error::TrySendError},
};

const BEAT: Duration = Duration::from_secs(2);
/// Events waiting for one client.
const QUEUE: usize = 256;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Like the header `Last-Event-ID`, for clients that cannot set it.
    after: Option<u64>,
    /// Without a number to resume from, begin with this many past entries.
    recent: Option<usize>,
}

pub async fn stream(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let wanted = Query::<Wanted>::from_query(request.query_string())
        .map_err(|cause| Problem::bad_request(cause.to_string()))?
        .into_inner();
    let after = match request.headers().get("last-event-id") {
        Some(id) => {
            let number = id.to_str().ok().and_then(|id| id.trim().parse().ok());
            Some(number.ok_or_else(|| Problem::bad_request("Last-Event-ID is the number of a journal entry"))?)
        }
        None => wanted.after,
    };
    let (events, body) = mpsc::channel(QUEUE);
    let subscription = shared.hub.subscribe(after, wanted.recent.unwrap_or(0).min(1000));
    actix_web::rt::spawn(carry(shared.into_inner(), subscription, events));
    Ok(HttpResponse::Ok()
        .insert_header(("Content-Type", "text/event-stream; charset=utf-8"))
        .insert_header(("Cache-Control", "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .body(ChannelBody {
            chunks: body,
            size: BodySize::Stream,
        }))
}

/// A response body that somebody else fills; it ends when the sender is dropped.
pub struct ChannelBody {
    pub chunks: mpsc::Receiver<Bytes>,
    pub size: BodySize,
}

impl MessageBody for ChannelBody {
    type Error = Infallible;
    fn size(&self) -> BodySize {
        self.size
    }
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        self.chunks.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

fn journal_event(numbered: &Numbered) -> Bytes {
    format!("id: {}\nevent: journal\ndata: {}\n\n", numbered.seq, numbered.line).into()
}

fn state_event(state: &StateText) -> Bytes {
    format!("event: state\ndata: {}\n\n", state.json).into()
}

fn gap_event(from: u64, to: u64) -> Bytes {
    format!("event: gap\ndata: {{\"from\":{from},\"to\":{to}}}\n\n").into()
}

/// Feeds one client until it leaves, stops reading, or the gateway stops.
async fn carry(shared: Arc<Shared>, from: Subscription, events: mpsc::Sender<Bytes>) {
    let mut stop = shared.stop.clone();
    let mut state = shared.hub.state();
    let mut live = from.live;
    state.mark_changed();
    if events.send("retry: 1000\n\n".into()).await.is_err() {
        return;
    }
    if let Some((first, last)) = from.gap
        && events.send(gap_event(first, last)).await.is_err()
    {
        return;
    }
    for numbered in &from.missed {
        if events.send(journal_event(numbered)).await.is_err() {
            return;
        }
    }
    let mut last = from.missed.last().map(|numbered| numbered.seq);
    let mut beat = tokio::time::interval(BEAT);
    loop {
        let event = tokio::select! {
            biased;
            _ = stop.changed() => return,
            () = events.closed() => return,
            line = live.recv() => match line {
                Ok(numbered) => {
                    last = Some(numbered.seq);
                    journal_event(&numbered)
                }
                Err(RecvError::Lagged(count)) => {
                    let from = last.map_or(1, |seq| seq + 1);
                    gap_event(from, from + count - 1)
                }
                Err(RecvError::Closed) => return,
            },
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
                let text = state_event(&state.borrow_and_update());
                // A newer state replaces one that the client has no room for.
                if events.capacity() < QUEUE / 2 {
                    continue;
                }
                text
            }
            _ = beat.tick() => {
                let age = shared.hub.snapshot_age_s();
                format!("event: beat\ndata: {{\"snapshot_age_s\":{age:.3}}}\n\n").into()
            }
        };
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = events.try_send(event) {
            return;
        }
    }
}
