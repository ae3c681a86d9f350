//! What is done with an attempt under a supervisor: poll, wait, pause, resume, stop, clean up.

use super::{
    AttemptSpec, AttemptState, Ending, ExecutorError, Limits, Outcome, Signal, Ticket,
    cgroup::Groups,
    supervisor::{GRACE_S, Supervised, send},
};
use alidade_model::time::UtcTime;
use rustix::process::Signal as Kill;
use std::time::Duration;

/// The ending, kept at its first sight; then nothing of the attempt runs any more.
fn ending(it: &Supervised<'_>, limits: &Limits) -> Result<Option<Ending>, ExecutorError> {
    let out_of_memory = it.groups.as_ref().is_some_and(Groups::out_of_memory);
    let Some(mut ending) = it.poll(limits, out_of_memory)? else {
        return Ok(None);
    };
    if !it.control("ending.json").exists() {
        if let Some(groups) = &it.groups {
            ending.cpu_s = groups.cpu_s().or(ending.cpu_s);
            ending.peak_memory = groups.peak_memory();
        }
        // The kernel ends by SIGKILL what is deaf to SIGXCPU.
        if let (Outcome::Killed { signal: 9 | 24 }, Some(limit_s), Some(cpu_s)) =
            (&ending.outcome, limits.cpu_s, ending.cpu_s)
            && cpu_s >= limit_s
        {
            ending.outcome = Outcome::OutOfCpuTime { limit_s };
        }
        // What ran into the background does not outlive its attempt.
        end_all(it)?;
        it.keep_ending(&ending)?;
    }
    Ok(Some(ending))
}

/// Ends every process but the supervisor. What is forked between two looks is found by the next.
fn end_all(it: &Supervised<'_>) -> Result<(), ExecutorError> {
    if let Some(groups) = it.groups.as_ref().filter(|groups| groups.is_frozen()) {
        groups.freeze(false)?;
    }
    for _ in 0..50 {
        let left = it.processes();
        if left.is_empty() {
            break;
        }
        left.into_iter().for_each(|pid| send(pid, Kill::KILL));
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// See [`super::Executor::poll`].
pub(super) fn poll(ticket: &Ticket, now: UtcTime) -> Result<AttemptState, ExecutorError> {
    let it = Supervised::of(ticket)?;
    let limits = AttemptSpec::of_folder(&ticket.folder)?
        .map(|spec| spec.limits)
        .unwrap_or_default();
    if let Some(ending) = ending(&it, &limits)? {
        return Ok(AttemptState::Ended(ending));
    }
    if let Some((_, asked)) = it.end_asked()? {
        if now.seconds_since(asked) > GRACE_S {
            end_all(&it)?;
        }
        return Ok(AttemptState::Running);
    }
    let cpu_s = match (&it.groups, limits.cpu_s) {
        (_, None) => 0.0,
        (Some(groups), Some(_)) => groups.cpu_s().unwrap_or_else(|| it.cpu_now_s()),
        (None, Some(_)) => it.cpu_now_s(),
    };
    if let Some(cause) = it.over_time(&limits, cpu_s, now)? {
        ask_to_end(&it, &cause, now)?;
    }
    Ok(if it.is_paused()? {
        AttemptState::Paused
    } else {
        AttemptState::Running
    })
}

/// What stands still cannot hear that it is to end.
fn ask_to_end(it: &Supervised<'_>, cause: &Outcome, now: UtcTime) -> Result<(), ExecutorError> {
    it.end(cause, now)?;
    match &it.groups {
        Some(groups) => groups.freeze(false),
        None => {
            it.kill(Kill::CONT);
            Ok(())
        }
    }
}

/// See [`super::Executor::wait`]: wakes at the end of the supervisor, and every 200 ms for the limits of time.
pub(super) fn wait(ticket: &Ticket, now: UtcTime, at_most: Duration) -> Result<AttemptState, ExecutorError> {
    let mut waited = Duration::ZERO;
    loop {
        let state = poll(ticket, now.plus_seconds(waited.as_secs_f64()))?;
        if matches!(state, AttemptState::Ended(_)) || waited >= at_most {
            return Ok(state);
        }
        let nap = Duration::from_millis(200).min(at_most - waited);
        Supervised::of(ticket)?.wait(nap);
        // Counted as if it had been waited for whole: an end that came sooner is told by the next look.
        waited += nap;
    }
}

/// See [`super::Executor::signal`].
pub(super) fn signal(ticket: &Ticket, signal: Signal, now: UtcTime) -> Result<(), ExecutorError> {
    let it = Supervised::of(ticket)?;
    let limits = AttemptSpec::of_folder(&ticket.folder)?
        .map(|spec| spec.limits)
        .unwrap_or_default();
    match (signal, ending(&it, &limits)?) {
        (Signal::Stop, Some(_)) => Ok(()),
        (_, Some(ending)) => Err(ExecutorError::HasEnded(ending.outcome)),
        (Signal::Pause, None) => {
            match &it.groups {
                Some(groups) => groups.freeze(true)?,
                None => (0..3).for_each(|_| it.kill(Kill::STOP)),
            }
            if it.is_paused()? {
                Ok(())
            } else {
                it.note_pause("pause", now)
            }
        }
        (Signal::Resume, None) => {
            match &it.groups {
                Some(groups) => groups.freeze(false)?,
                None => it.kill(Kill::CONT),
            }
            if it.is_paused()? {
                it.note_pause("resume", now)
            } else {
                Ok(())
            }
        }
        (Signal::Stop, None) => ask_to_end(&it, &Outcome::Stopped, now),
    }
}

/// See [`super::Executor::cleanup`].
pub(super) fn cleanup(ticket: &Ticket) -> Result<(), ExecutorError> {
    let it = Supervised::of(ticket)?;
    // Whoever told the ending has ended what was left.
    if !it.control("ending.json").exists() {
        end_all(&it)?;
    }
    if let Some(groups) = &it.groups {
        // A killed process leaves its group a moment after it is gone.
        for _ in 0..100 {
            if groups.remove() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        tracing::warn!(attempt = ticket.attempt, "its control groups cannot be removed");
    }
    Ok(())
}
