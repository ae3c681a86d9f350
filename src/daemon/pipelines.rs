//! Runs of processing in the daemon: started by request, on threads of their own, a few at a time; runs of which the
//! process has died are taken up without anybody asking.

use crate::{
    gateway::runs::{DeskFault, LogPage, RunDesk},
    processing::{ProcessingError, Workshop},
    settings::Settings,
    store::{Durability, OpenOptions, Store},
};
use alidade_pipeline::{
    packages::Asker,
    plan::{Planned, RunRequest},
    port::{Role, RunFilter, RunReads, RunRecord, StoreFault},
    runner::RunFault,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

/// Runs at a time; others wait.
const AT_A_TIME: usize = 2;
/// How often runs without an owner are looked for.
const LOOK: Duration = Duration::from_secs(5);

struct Conductor {
    shop: Workshop,
    /// For reading; opened when first needed, anew after a fault.
    reader: Mutex<Option<Store>>,
    /// Runs of this process, waiting or going.
    ours: Mutex<BTreeSet<String>>,
    going: Mutex<usize>,
    freed: Condvar,
}

/// Takes up what was left by the process before, and answers the gateway.
pub fn conduct(settings: &Settings) -> Arc<dyn RunDesk> {
    let conductor = Arc::new(Conductor {
        shop: Workshop::of(settings),
        reader: Mutex::new(None),
        ours: Mutex::default(),
        going: Mutex::new(0),
        freed: Condvar::new(),
    });
    let adopting = conductor.clone();
    thread::spawn(move || {
        let mut before = None;
        loop {
            before = Some(adopt(&adopting, before));
            thread::park_timeout(LOOK);
        }
    });
    Arc::new(conductor)
}

/// Takes up runs that nobody owns: at the start at once, later those that nobody owned at the look before either (a
/// command that has just recorded its run is about to own it).
fn adopt(conductor: &Arc<Conductor>, before: Option<BTreeSet<String>>) -> BTreeSet<String> {
    let orphans = conductor
        .shop
        .writing()
        .and_then(|mut store| conductor.shop.orphans(store.as_mut()));
    match orphans {
        Ok(runs) => {
            let ours = locked(&conductor.ours).clone();
            let all: BTreeSet<String> = runs.into_iter().map(|r| r.id).filter(|id| !ours.contains(id)).collect();
            for id in all.iter().filter(|id| before.as_ref().is_none_or(|b| b.contains(*id))) {
                tracing::warn!(run = id, "a run without an owner is taken up");
                begin(conductor, id.clone());
            }
            all
        }
        Err(error) => {
            tracing::warn!(%error, "runs without an owner cannot be looked for");
            before.unwrap_or_default()
        }
    }
}

/// A thread that panicked has left a value that is whole: every change is one assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn begin(conductor: &Arc<Conductor>, id: String) {
    if !locked(&conductor.ours).insert(id.clone()) {
        return;
    }
    let conductor = conductor.clone();
    thread::spawn(move || {
        let mut going = locked(&conductor.going);
        while *going >= AT_A_TIME {
            going = conductor
                .freed
                .wait(going)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        *going += 1;
        drop(going);
        let ended = conductor
            .shop
            .writing()
            .and_then(|mut store| conductor.shop.carry(store.as_mut(), &id));
        match ended {
            Ok(run) => tracing::info!(run = id, state = %run.state, cause = run.cause, "run ended"),
            Err(error) => tracing::error!(run = id, %error, "run interrupted; it is taken up again"),
        }
        *locked(&conductor.going) -= 1;
        locked(&conductor.ours).remove(&id);
        conductor.freed.notify_one();
    });
}

fn refused(error: ProcessingError) -> DeskFault {
    match error {
        ProcessingError::BadInput(_) => DeskFault::Bad(error.to_string()),
        ProcessingError::Run(RunFault::Unknown(id)) => DeskFault::Unknown(id),
        ProcessingError::Run(RunFault::Ended(_) | RunFault::Owned(_)) => DeskFault::Refused(error.to_string()),
        _ => DeskFault::Failed(error.to_string()),
    }
}

impl Conductor {
    fn read<T>(&self, question: impl Fn(&mut Store) -> Result<T, StoreFault>) -> Result<T, DeskFault> {
        let mut reader = locked(&self.reader);
        if reader.is_none() {
            let options = OpenOptions {
                migrate: false,
                durability: Durability::Relaxed,
            };
            *reader = Some(Store::open(&self.shop.url, options).map_err(|e| DeskFault::Failed(e.to_string()))?);
        }
        let Some(store) = reader.as_mut() else {
            return Err(DeskFault::Failed("no database".into()));
        };
        question(store).map_err(|e| DeskFault::Failed(e.to_string()))
    }

    fn known(&self, asker: &Asker, id: &str) -> Result<RunRecord, DeskFault> {
        self.read(|s| RunReads::run(s, id))?
            .filter(|run| asker.may_see(run.owner.as_deref()))
            .ok_or_else(|| DeskFault::Unknown(id.into()))
    }
}

/// Starting needs the conductor itself on another thread.
impl RunDesk for Arc<Conductor> {
    fn pipelines(&self) -> Result<Value, DeskFault> {
        let found = self.shop.collection();
        Ok(json!({ "pipelines": found.summary(), "faults": found.faults }))
    }

    fn runs(&self, filter: &RunFilter) -> Result<Value, DeskFault> {
        Ok(json!(self.read(|s| RunReads::runs(s, filter))?))
    }

    fn run(&self, asker: &Asker, id: &str) -> Result<Value, DeskFault> {
        let run = self.known(asker, id)?;
        let attempts = self.read(|s| s.attempts(id))?;
        let exceptions = self.read(|s| s.exceptions(id))?;
        let targets = self.read(|s| s.targets(id))?;
        let products: Vec<_> = targets.into_iter().filter(|t| t.role == Role::Out).collect();
        Ok(
            json!({ "run": run, "topology": run.plan.topology(), "attempts": attempts,
            "products": products, "exceptions": exceptions }),
        )
    }

    fn log(&self, asker: &Asker, id: &str, from: u64, limit: i64) -> Result<LogPage, DeskFault> {
        // The state first: what is said before the end is then surely among the lines.
        let run = self.known(asker, id)?;
        let rows = self.read(|s| RunReads::log(s, id, from, limit))?;
        Ok(LogPage {
            rows,
            run: json!({ "id": run.id, "state": run.state, "status": run.status, "cause": run.cause,
                "product_group": run.product_group }),
            ended: run.ended.is_some(),
        })
    }

    fn start(&self, asker: &Asker, request: &RunRequest) -> Result<String, DeskFault> {
        let planned = Planned {
            owner: asker.account.clone(),
            ..self.shop.plan(request).map_err(refused)?
        };
        let mut store = self.shop.writing().map_err(refused)?;
        let run = self.shop.create(store.as_mut(), &planned).map_err(refused)?;
        begin(self, run.id.clone());
        Ok(run.id)
    }

    fn cancel(&self, asker: &Asker, id: &str) -> Result<(), DeskFault> {
        if !asker.may(self.known(asker, id)?.owner.as_deref()) {
            let whose = format!("run {id} is the observatory's: it is ended by those who may end everybody's");
            return Err(DeskFault::NotTheirs(whose));
        }
        let mut store = self.shop.writing().map_err(refused)?;
        self.shop.cancel(store.as_mut(), id).map_err(refused)
    }
}
