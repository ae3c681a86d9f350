//! Alarms on their way to people: a command, a web hook, a mail. What is due decides [`alidade_monitoring::alarms`].
//!
//! The desk is rebuilt from the journal at every start: what nobody has acknowledged is still open, and who was told of it is
//! not told again at once.
//!
//! A way that fails is tried again once a minute for as long as the alarm is not acknowledged, and both are written to the
//! journal. Nothing here is waited for by anything else.

use super::mail;
use crate::{
    settings::{AlarmWay, AlarmWaySettings, MailSettings, Settings, read_secret},
    store::{Store, StoreError},
};
use alidade_model::{
    journal::{Entry, Fact, Recorder, Severity, Sink},
    offload::Offload,
    time::UtcTime,
};
use alidade_monitoring::alarms::{Alarm, Desk, Notice, Step};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::Read,
    process::{Command, Stdio},
    rc::Rc,
    time::Duration,
};

/// The outcome in the journal of a notice that went out.
const TOLD: &str = "told";

/// The alarms, those of earlier runs among them; a sink of the journal.
#[derive(Clone, Default)]
pub struct AlarmDesk(Rc<RefCell<Desk>>);

impl Sink for AlarmDesk {
    fn append(&mut self, entry: &Entry) {
        if let Fact::Alarm { severity, text } = &entry.fact {
            self.0.borrow_mut().raise(entry.seq, entry.at, *severity, text);
        }
    }
}

/// How far back alarms are looked for at a start, seconds.
const REMEMBERED_S: f64 = 30.0 * 86_400.0;

impl AlarmDesk {
    /// The alarms that the journal holds.
    pub fn resumed(store: &mut Store, now: UtcTime) -> Result<Self, StoreError> {
        let desk = Self::default();
        let kinds = ["alarm", "alarm_acknowledged", "alarm_notified"];
        for entry in store.entries_of(&kinds, now.plus_seconds(-REMEMBERED_S))? {
            let mut alarms = desk.0.borrow_mut();
            match &entry.fact {
                Fact::Alarm { severity, text } => alarms.raise(entry.seq, entry.at, *severity, text),
                // An alarm that is older than what is remembered is nothing to acknowledge.
                Fact::AlarmAcknowledged { alarm, who } => drop(alarms.acknowledge(*alarm, who, entry.at).map(|_| ())),
                Fact::AlarmNotified { alarm, way, outcome } if outcome == TOLD => {
                    alarms.was_told(*alarm, way, entry.at);
                }
                _ => {}
            }
        }
        Ok(desk)
    }

    /// A person takes note, and the journal says so.
    pub fn acknowledge(&self, id: u64, who: &str, recorder: &Recorder) -> Result<(), String> {
        let acknowledged = self.0.borrow_mut().acknowledge(id, who, recorder.now()).map(|_| ());
        if acknowledged.is_ok() {
            recorder.record(Fact::AlarmAcknowledged {
                alarm: id,
                who: who.to_owned(),
            });
        }
        acknowledged
    }

    /// The newest first.
    pub fn all(&self) -> Vec<Alarm> {
        self.0.borrow().newest_first().cloned().collect()
    }
}

/// The steps of the configuration.
pub fn steps(settings: &Settings) -> Vec<Step> {
    let step = |(name, way): (&String, &AlarmWaySettings)| Step {
        name: name.clone(),
        severity: way.severity,
        after_s: way.after_s,
        repeat_s: way.repeat_s,
    };
    settings.alarms.notify.iter().map(step).collect()
}

/// Tells people for ever.
pub async fn escalate(desk: AlarmDesk, settings: Settings, recorder: Recorder, offload: Offload) {
    let steps = steps(&settings);
    let site = settings.site.title.clone();
    let mut again: BTreeMap<(u64, String), (u32, Notice)> = BTreeMap::new();
    let failed: Rc<RefCell<Vec<Notice>>> = Rc::default();
    let mut seconds = 0u32;
    loop {
        let mut notices = desk.0.borrow_mut().due(&steps, recorder.now());
        for notice in failed.borrow_mut().drain(..) {
            again.insert((notice.alarm.id, notice.step.clone()), (seconds + 60, notice));
        }
        let open = |id: u64| {
            desk.0
                .borrow()
                .newest_first()
                .any(|a| a.id == id && a.acknowledged.is_none())
        };
        again.retain(|(id, _), _| open(*id));
        let due: Vec<(u64, String)> = again
            .iter()
            .filter(|(_, (at, _))| *at <= seconds)
            .map(|(key, _)| key.clone())
            .collect();
        notices.extend(due.iter().filter_map(|key| again.remove(key).map(|(_, notice)| notice)));
        for notice in notices {
            let Some(way) = settings.alarms.notify.get(&notice.step).cloned() else {
                continue;
            };
            let (recorder, offload, failed, site) = (recorder.clone(), offload.clone(), failed.clone(), site.clone());
            tokio::task::spawn_local(async move {
                let (alarm, timeout) = (notice.alarm.clone(), Duration::from_secs_f64(way.timeout_s));
                let told = offload.run(move || tell(&way.way, &site, &alarm, timeout)).await;
                let outcome = told.map_err(|lost| lost.to_string()).and_then(|told| told);
                recorder.record(Fact::AlarmNotified {
                    alarm: notice.alarm.id,
                    way: notice.step.clone(),
                    outcome: outcome.clone().err().unwrap_or_else(|| TOLD.into()),
                });
                if outcome.is_err() {
                    failed.borrow_mut().push(notice);
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        seconds += 1;
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Serious => "serious",
        Severity::Critical => "critical",
    }
}

/// Tells one alarm by one way; blocks. The error is the cause.
pub fn tell(way: &AlarmWay, site: &str, alarm: &Alarm, timeout: Duration) -> Result<(), String> {
    match way {
        AlarmWay::Command { program, args } => run(program, args, site, alarm, timeout),
        AlarmWay::Webhook { url, secret_file } => {
            let secret = secret_file
                .as_deref()
                .map(read_secret)
                .transpose()
                .map_err(|e| e.to_string())?;
            post(url, secret.as_deref(), site, alarm, timeout)
        }
        AlarmWay::Mail {
            server,
            port,
            tls,
            from,
            to,
            user,
            password_file,
        } => {
            let subject = format!("[{site}] {}: {}", severity(alarm.severity), alarm.text);
            let body = format!(
                "{}\n\nseverity: {}\nraised: {} (number {}, {} times)\nsite: {site}\n\nAcknowledge it on the dashboard, or with\n  POST /api/v1/alarms/{}/acknowledge\n",
                alarm.text,
                severity(alarm.severity),
                alarm.at,
                alarm.id,
                alarm.count,
                alarm.id
            );
            let mail = MailSettings {
                server: server.clone(),
                port: *port,
                tls: *tls,
                from: from.clone(),
                user: user.clone(),
                password_file: password_file.clone(),
            };
            mail::send(&mail, to, &subject, body, timeout)
        }
    }
}

/// The alarm in the environment of a program, which has its time and then is killed.
fn run(program: &str, args: &[String], site: &str, alarm: &Alarm, timeout: Duration) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(args)
        .env("ALIDADE_ALARM_ID", alarm.id.to_string())
        .env("ALIDADE_ALARM_SEVERITY", severity(alarm.severity))
        .env("ALIDADE_ALARM_TEXT", &alarm.text)
        .env("ALIDADE_ALARM_AT", alarm.at.to_string())
        .env("ALIDADE_SITE", site)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{program}: {e}"))?;
    let step = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    let status = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None if waited >= timeout => {
                // Nobody else waits for it; what it has started it has to end itself.
                drop(child.kill());
                drop(child.wait());
                return Err(format!("{program}: not done within {timeout:?}"));
            }
            None => {
                std::thread::sleep(step);
                waited += step;
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        // Not text is nothing to quote.
        drop(stderr.take(300).read_to_string(&mut said));
    }
    Err(format!("{program}: {status} {}", said.trim()))
}

fn post(url: &str, secret: Option<&str>, site: &str, alarm: &Alarm, timeout: Duration) -> Result<(), String> {
    let body = serde_json::json!({
        "site": site,
        "id": alarm.id,
        "at": alarm.at,
        "severity": alarm.severity,
        "text": alarm.text,
        "count": alarm.count,
    });
    let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).build();
    let mut request = ureq::Agent::new_with_config(config)
        .post(url)
        .header("Content-Type", "application/json");
    if let Some(secret) = secret {
        request = request.header("Authorization", format!("Bearer {secret}"));
    }
    request.send(body.to_string()).map(drop).map_err(|e| e.to_string())
}
