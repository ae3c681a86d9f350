//! The shell of a run: asks the planner, records waves, sends attempts to threads.
//!
//! One process runs a run, and holds a lock on a file of it that the kernel lets go when the process dies: there is
//! nothing to unlock by hand. A task starts only after the wave that says so has been committed, and what depends on
//! an attempt starts only after its end has been committed.
//!
//! | module | holds |
//! |---|---|
//! | [`pool`] | threads that carry attempts out |
//! | [`recover`] | what a run was doing when its process died |
//! | `attempt` | the rows and orders of one attempt |

mod attempt;
pub mod pool;
pub mod recover;

use crate::{
    executors::{Executor, ProcessExecutor},
    plan::{Frozen, Natives, Planned, RunPlan},
    port::*,
    signals::{Signal, Signals},
    step::{self, Effect, Input, Plan, Verdict},
    task::Said,
    worker::{Clock, Done},
};
use alidade_model::states::{LifeCycle, RunState};
use pool::{Event, Pool};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What runs are surrounded by.
#[derive(Clone)]
pub struct Surroundings {
    /// Attempts below `runs/`, products below `products/`; one file system.
    pub root: PathBuf,
    pub natives: Natives,
    pub executors: BTreeMap<String, Arc<dyn Executor>>,
    pub clock: Clock,
    pub signals: Signals,
    pub dry_run: bool,
}

impl Surroundings {
    /// With the plain process as the only executor.
    pub fn new(root: PathBuf, clock: Clock) -> Self {
        let process: Arc<dyn Executor> = Arc::new(ProcessExecutor);
        Self {
            root,
            natives: Natives::default(),
            executors: BTreeMap::from([(process.name().to_owned(), process)]),
            clock,
            signals: Signals::default(),
            dry_run: false,
        }
    }

    fn run_folder(&self, run: &str) -> PathBuf {
        self.root.join("runs").join(run)
    }

    /// Where products are; their paths are relative to it.
    pub fn products(&self) -> PathBuf {
        self.root.join("products")
    }
}

/// Why a run cannot go on. What was recorded stays; the next start goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RunFault {
    #[error("there is no run {0}")]
    Unknown(String),
    #[error("run {0} is being run by another process")]
    Owned(String),
    #[error("run {0} has ended")]
    Ended(String),
    #[error("the plan of run {run} cannot be read: {cause}")]
    Plan { run: String, cause: String },
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error("{place}: {cause}")]
    Io { place: String, cause: io::Error },
}

/// Records a new run that has not begun; returns its identifier `SHORT_TARGET_YYYYmmddHHMMSS`, with a number behind it
/// when that second has one already.
pub fn create(around: &Surroundings, store: &mut dyn RunWrites, planned: &Planned) -> Result<RunRecord, RunFault> {
    let now = (around.clock)();
    let subject = planned.subject.as_deref().map(|s| format!("_{s}")).unwrap_or_default();
    let base = format!(
        "{}{subject}_{}",
        planned.short_name,
        now.chrono().format("%Y%m%d%H%M%S")
    );
    let plan = RunPlan {
        dry_run: around.dry_run,
        ..planned.plan.clone()
    };
    let plan = Frozen::of(&plan).map_err(|e| RunFault::Plan {
        run: base.clone(),
        cause: e.to_string(),
    })?;
    let mut number = 1;
    loop {
        let id = if number == 1 {
            base.clone()
        } else {
            format!("{base}-{number}")
        };
        let record = RunRecord {
            id,
            pipeline: planned.pipeline.clone(),
            plugin: planned.plugin.clone(),
            version: planned.version.clone(),
            short_name: planned.short_name.clone(),
            subject: planned.subject.clone(),
            owner: planned.owner.clone(),
            product_group: None,
            state: RunState::Waiting,
            status: "pending".into(),
            cause: String::new(),
            plan: plan.clone(),
            properties: planned.properties.clone(),
            created: now,
            started: None,
            ended: None,
        };
        match store.create_run(&record) {
            Ok(()) => return Ok(record),
            Err(StoreFault::RunExists(_)) => number += 1,
            Err(fault) => return Err(fault.into()),
        }
    }
}

/// Runs a run to its end, or goes on with one whose process has died. `cancel` ends it early.
pub fn execute(
    around: &Surroundings,
    store: &mut dyn RunWrites,
    id: &str,
    cancel: &Arc<AtomicBool>,
) -> Result<RunRecord, RunFault> {
    let record = store.run(id)?.ok_or_else(|| RunFault::Unknown(id.into()))?;
    let folder = around.run_folder(id);
    let io = |cause| RunFault::Io {
        place: folder.display().to_string(),
        cause,
    };
    fs::create_dir_all(&folder).map_err(io)?;
    let lock = File::create(folder.join("owner")).map_err(io)?;
    lock.try_lock().map_err(|_| RunFault::Owned(id.into()))?;
    // Read again: the process before may have ended it while we waited.
    let mut record = store.run(id)?.unwrap_or(record);
    if record.ended.is_some() {
        return Err(RunFault::Ended(id.into()));
    }
    let plan = std::mem::take(&mut record.plan).thaw().map_err(|e| RunFault::Plan {
        run: id.into(),
        cause: e.to_string(),
    })?;
    let mut runner = Runner::new(around, store, record, plan, cancel.clone(), folder.clone());
    let worked = runner.begin().and_then(|()| runner.turn());
    if worked.is_err() {
        // Nothing of it may go on behind the back of whoever takes the run up again.
        cancel.store(true, Ordering::Relaxed);
        runner.pool.drain();
    }
    worked?;
    let record = runner.record;
    drop(lock);
    // An empty folder says nothing; what failed has left its attempt there.
    drop(fs::remove_dir(folder.join("attempts")));
    if !folder.join("attempts").exists() {
        drop(fs::remove_dir_all(&folder));
    }
    Ok(record)
}

/// Whether the process that runs a run is alive.
pub fn is_owned(root: &Path, run: &str) -> bool {
    File::open(root.join("runs").join(run).join("owner")).is_ok_and(|file| file.try_lock_shared().is_err())
}

/// An attempt that is under way.
struct Open {
    row: AttemptRow,
    node: usize,
}

struct Runner<'a> {
    around: &'a Surroundings,
    store: &'a mut dyn RunWrites,
    record: RunRecord,
    plan: RunPlan,
    machine: Plan,
    pool: Pool,
    folder: PathBuf,
    cancel: Arc<AtomicBool>,
    told_cancel: bool,
    effects: VecDeque<Effect>,
    wave: Wave,
    orders: Vec<crate::worker::Order>,
    open: BTreeMap<String, Open>,
    /// The newest attempt of each node.
    latest: Vec<Option<String>>,
    /// The item of each loop.
    items: Vec<Option<Value>>,
    /// Outputs by dataset and version, newest.
    made: BTreeMap<(String, String), TargetRow>,
    products: u64,
    shared: Arc<Map<String, Value>>,
    seq: u64,
    line: u64,
    failures: u64,
    last_failure: String,
    verdict: Option<Verdict>,
}

/// Log lines that are taken into one wave.
const MOST_EVENTS: usize = 1024;

impl<'a> Runner<'a> {
    fn new(
        around: &'a Surroundings,
        store: &'a mut dyn RunWrites,
        record: RunRecord,
        plan: RunPlan,
        cancel: Arc<AtomicBool>,
        folder: PathBuf,
    ) -> Self {
        let count = plan.topology.names.len();
        Self {
            machine: Plan::new(plan.topology.clone(), plan.parallel),
            pool: Pool::new(plan.parallel.min(32)),
            latest: vec![None; count],
            items: vec![None; plan.loops.len()],
            shared: Arc::new(record.properties.clone()),
            around,
            store,
            record,
            plan,
            folder,
            cancel,
            told_cancel: false,
            effects: VecDeque::new(),
            wave: Wave::default(),
            orders: Vec::new(),
            open: BTreeMap::new(),
            made: BTreeMap::new(),
            products: 0,
            seq: 0,
            line: 0,
            failures: 0,
            last_failure: String::new(),
            verdict: None,
        }
    }

    fn say(&mut self, node: &str, level: &str, text: String) {
        self.line += 1;
        self.wave.log.push(LogRow {
            line: self.line,
            at: (self.around.clock)(),
            node: node.into(),
            level: level.into(),
            text,
        });
    }

    /// The state and, in words, the status of the run.
    fn go(&mut self, state: RunState) {
        if let Ok(next) = self.record.state.step(state) {
            self.record.state = next;
            self.wave.change.state = Some(next);
        }
    }

    /// Works until nothing is left.
    fn turn(&mut self) -> Result<(), RunFault> {
        loop {
            while let Some(effect) = self.effects.pop_front() {
                self.carry(effect);
            }
            self.look_for_cancel();
            if !self.effects.is_empty() {
                continue;
            }
            if let Some(verdict) = self.verdict {
                self.finish(verdict);
                self.commit()?;
                return Ok(());
            }
            self.commit()?;
            for order in std::mem::take(&mut self.orders) {
                self.pool.send(order);
            }
            self.listen();
        }
    }

    fn look_for_cancel(&mut self) {
        if self.cancel.load(Ordering::Relaxed) && !self.told_cancel {
            self.told_cancel = true;
            self.say("", "warning", "the run is cancelled".into());
            // What was not sent yet is not sent any more: it ends as cancelled.
            let effects = self.machine.step(Input::Cancel);
            self.effects.extend(effects);
        }
    }

    fn commit(&mut self) -> Result<(), RunFault> {
        if self.wave.is_empty() {
            return Ok(());
        }
        let wave = std::mem::take(&mut self.wave);
        self.store.commit(&self.record.id, &wave)?;
        for row in &wave.starts {
            self.around.signals.emit(Signal::Created, row);
            self.around.signals.emit(
                if row.state == JobState::Running {
                    Signal::Started
                } else {
                    Signal::Changed
                },
                row,
            );
        }
        Ok(())
    }

    /// Waits for what attempts say.
    fn listen(&mut self) {
        let Some(first) = self.pool.next(Duration::from_millis(50)) else {
            return;
        };
        self.hear(first);
        for _ in 0..MOST_EVENTS {
            match self.pool.next(Duration::ZERO) {
                Some(event) => self.hear(event),
                None => return,
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Said(node, Said::Log { level, text }) => self.say(&node, level, text),
            Event::Said(_, Said::Status(text)) => {
                self.record.status.clone_from(&text);
                self.wave.change.status = Some(text);
            }
            Event::Started(uuid, ticket) => {
                if let Ok(ticket) = serde_json::to_value(ticket) {
                    self.wave.tickets.push((uuid, ticket));
                }
            }
            Event::Done(done) => self.ended(*done),
        }
    }

    fn carry(&mut self, effect: Effect) {
        match effect {
            Effect::Draw { of, index } => self.draw(of, index),
            Effect::Reset { nodes } => {
                for node in nodes {
                    let row = self.blank(node);
                    self.around.signals.emit(Signal::Reset, &row);
                }
            }
            Effect::Start { node, iteration } => self.start(node, iteration, 1),
            Effect::Blocked { node, by } => self.blocked(node, by),
            Effect::Done(verdict) => self.verdict = Some(verdict),
        }
    }

    fn draw(&mut self, of: usize, index: u64) {
        let item = match self.plan.item(of, index, &self.shared) {
            Ok(item) => item,
            Err(cause) => {
                let name = self.plan.loops[of].name.clone();
                self.failures += 1;
                self.last_failure = format!("loop {name}: {cause}");
                self.say("", "error", self.last_failure.clone());
                None
            }
        };
        self.seq += 1;
        self.wave.draws.push(DrawRow {
            loop_name: self.plan.loops[of].name.clone(),
            index,
            item: item.clone(),
            seq: self.seq,
        });
        self.drawn(of, item);
    }

    /// Tells the planner what was drawn.
    fn drawn(&mut self, of: usize, item: Option<Value>) {
        let more = item.is_some();
        if let Some(item) = &item {
            Arc::make_mut(&mut self.shared).insert(self.plan.loops[of].property.clone(), item.clone());
        }
        self.items[of] = item;
        let effects = self.machine.step(Input::Drawn { of, more });
        self.effects.extend(effects);
    }

    /// An attempt is over: its row, then the next try or the planner.
    fn ended(&mut self, done: Done) {
        let Some(open) = self.open.remove(&done.uuid) else {
            return;
        };
        let failed = done.failure.is_some();
        let again = failed && !self.told_cancel && open.row.tried <= self.plan.nodes[open.node].body.retries();
        let reason = done.failure.as_ref().map(|f| f.0.clone()).unwrap_or_default();
        let seq = (!again).then(|| {
            self.seq += 1;
            self.seq
        });
        if !failed {
            if !done.properties.is_empty() {
                Arc::make_mut(&mut self.shared).extend(done.properties.clone());
                self.wave.change.properties = Some((*self.shared).clone());
            }
            self.remember(&done.targets);
        }
        let mut row = open.row;
        row.state = JobState::Terminated;
        row.status = done.status;
        row.reason.clone_from(&reason);
        row.ended = Some((self.around.clock)());
        self.around
            .signals
            .emit(if failed { Signal::Errored } else { Signal::Ended }, &row);
        self.around.signals.emit(Signal::Changed, &row);
        let mut targets = done.targets;
        targets.extend(self.inputs_read(open.node, &row.uuid));
        self.wave.ends.push(End {
            uuid: row.uuid.clone(),
            status: done.status,
            reason: reason.clone(),
            at: row.ended.unwrap_or_else(|| (self.around.clock)()),
            seq,
            exceptions: done.exceptions,
            targets,
            properties: if failed { Map::new() } else { done.properties },
        });
        if again {
            self.say(&row.node, "warning", format!("{reason}; try {} follows", row.tried + 1));
            self.start(open.node, row.iteration, row.tried + 1);
            return;
        }
        if failed {
            self.failures += 1;
            self.last_failure = format!("{}: {reason}", row.node);
            self.say(&row.node, "error", reason);
        }
        self.told(open.node, failed);
    }

    fn told(&mut self, node: usize, failed: bool) {
        let outcome = if failed {
            step::Outcome::Failed
        } else {
            step::Outcome::Ok
        };
        let effects = self.machine.step(Input::Finished { node, outcome });
        self.effects.extend(effects);
    }

    /// Outputs that later tasks may read.
    fn remember(&mut self, targets: &[TargetRow]) {
        for target in targets.iter().filter(|t| t.role == Role::Out) {
            if !target.sha256.is_empty() {
                self.products += 1;
            }
            if !target.dataset.is_empty() {
                self.made
                    .insert((target.dataset.clone(), target.version.clone()), target.clone());
            }
        }
    }

    fn finish(&mut self, verdict: Verdict) {
        // The iterator of a loop that failed is a failure although no task has one.
        let verdict = if verdict == Verdict::Ok && self.failures > 0 {
            Verdict::Partial
        } else {
            verdict
        };
        let now = (self.around.clock)();
        let summary = format!("{} products, {} attempts failed", self.products, self.failures);
        let (state, status, cause) = match verdict {
            Verdict::Ok => (RunState::Done, "created".to_owned(), summary),
            Verdict::Partial => (
                RunState::Done,
                "created".to_owned(),
                format!("partial: {summary}; last: {}", self.last_failure),
            ),
            Verdict::Failed => (RunState::Failed, "failed".to_owned(), self.last_failure.clone()),
            Verdict::Cancelled => (RunState::Canceled, "cancelled".to_owned(), "cancelled".to_owned()),
        };
        if state == RunState::Done {
            self.go(RunState::Finishing);
        }
        self.go(state);
        self.record.status.clone_from(&status);
        self.record.cause.clone_from(&cause);
        self.record.ended = Some(now);
        if self.products > 0 {
            let group = format!("{}_outputs", self.record.id);
            self.record.product_group = Some(group.clone());
            self.wave.change.group = Some(group);
        }
        self.record.properties = (*self.shared).clone();
        self.say(
            "",
            if state == RunState::Failed { "error" } else { "info" },
            format!("{status}: {cause}"),
        );
        self.wave.change.properties = Some(self.record.properties.clone());
        self.wave.change.status = Some(status);
        self.wave.change.cause = Some(cause);
        self.wave.change.ended = Some(now);
    }
}

impl RunRecord {
    /// How a finished run counts: 0 when everything is done, 1 when anything failed, was blocked or cancelled.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.state != RunState::Done || self.cause.starts_with("partial"))
    }
}
