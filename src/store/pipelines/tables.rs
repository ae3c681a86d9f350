//! The tables of runs as Diesel sees them, and their rows.

use crate::store::{
    ReadError,
    rows::{naive, utc, whole},
};
use alidade_model::{states::RunState, time::UtcTime};
use alidade_pipeline::{plan::Frozen, port::*};
use chrono::NaiveDateTime;
use diesel::prelude::*;
use serde_json::Value;

diesel::table! {
    software_releases (identifier, kind, version) {
        identifier -> Text,
        kind -> Text,
        version -> Text,
        date -> Text,
        author -> Text,
        digest -> Text,
        descriptor -> Text,
        registered_at -> Timestamp,
    }
}

diesel::table! {
    dataset_definitions (identifier, version, plugin, plugin_version) {
        identifier -> Text,
        version -> Text,
        level -> Text,
        name -> Text,
        plugin -> Text,
        plugin_version -> Text,
        task -> Text,
    }
}

diesel::table! {
    plugin_revisions (plugin) {
        plugin -> Text,
        revision -> Nullable<Text>,
    }
}

diesel::table! {
    runs (id) {
        id -> Text,
        pipeline -> Text,
        plugin -> Text,
        version -> Text,
        short_name -> Text,
        subject -> Nullable<Text>,
        product_group -> Nullable<Text>,
        state -> Text,
        status -> Text,
        cause -> Text,
        plan -> Text,
        properties -> Text,
        created_at -> Timestamp,
        started_at -> Nullable<Timestamp>,
        ended_at -> Nullable<Timestamp>,
        owner -> Nullable<Text>,
    }
}

diesel::table! {
    run_attempts (id) {
        id -> BigInt,
        uuid -> Text,
        run_id -> Text,
        plugin -> Text,
        task -> Text,
        node -> Text,
        iteration -> Nullable<BigInt>,
        item -> Nullable<Text>,
        tried -> BigInt,
        parent -> Nullable<Text>,
        category -> Text,
        description -> Text,
        state -> Text,
        status -> Text,
        reason -> Text,
        started_at -> Nullable<Timestamp>,
        ended_at -> Nullable<Timestamp>,
        seq -> Nullable<BigInt>,
        task_key -> Text,
        key_parts -> Text,
        ticket -> Nullable<Text>,
        properties -> Text,
    }
}

diesel::table! {
    run_exceptions (id) {
        id -> BigInt,
        attempt -> Text,
        kind -> Text,
        level -> Text,
        message -> Text,
    }
}

diesel::table! {
    run_targets (id) {
        id -> BigInt,
        attempt -> Text,
        run_id -> Text,
        role -> Text,
        name -> Text,
        label -> Text,
        dataset -> Text,
        version -> Text,
        level -> Text,
        path -> Text,
        size_bytes -> BigInt,
        sha256 -> Text,
        state -> Text,
        status -> Text,
        message -> Text,
    }
}

diesel::table! {
    run_draws (run_id, seq) {
        run_id -> Text,
        seq -> BigInt,
        loop_name -> Text,
        place -> BigInt,
        item -> Nullable<Text>,
    }
}

diesel::table! {
    run_log (run_id, line) {
        run_id -> Text,
        line -> BigInt,
        at -> Timestamp,
        node -> Text,
        level -> Text,
        text -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(run_attempts, run_exceptions);

/// NUL cannot be kept by PostgreSQL's text.
pub fn clean(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn json(table: &'static str, text: &str) -> Result<Value, ReadError> {
    serde_json::from_str(text).map_err(|e| ReadError::Garbled(table, e.to_string()))
}

fn known<T>(table: &'static str, word: &str, of: impl Fn(&str) -> Option<T>) -> Result<T, ReadError> {
    of(word).ok_or_else(|| ReadError::Garbled(table, format!("{word:?} is no state")))
}

#[derive(Queryable, Insertable, Selectable)]
#[diesel(table_name = runs)]
pub struct RunRow {
    id: String,
    pipeline: String,
    plugin: String,
    version: String,
    short_name: String,
    subject: Option<String>,
    product_group: Option<String>,
    state: String,
    status: String,
    cause: String,
    plan: String,
    properties: String,
    created_at: NaiveDateTime,
    started_at: Option<NaiveDateTime>,
    ended_at: Option<NaiveDateTime>,
    owner: Option<String>,
}

impl RunRow {
    pub fn new(run: &RunRecord) -> Self {
        Self {
            id: run.id.clone(),
            pipeline: run.pipeline.clone(),
            plugin: run.plugin.clone(),
            version: run.version.clone(),
            short_name: run.short_name.clone(),
            subject: run.subject.clone(),
            product_group: run.product_group.clone(),
            state: run.state.to_string(),
            status: clean(&run.status),
            cause: clean(&run.cause),
            plan: run.plan.text().to_owned(),
            properties: Value::Object(run.properties.clone()).to_string(),
            created_at: naive(run.created),
            started_at: run.started.map(naive),
            ended_at: run.ended.map(naive),
            owner: run.owner.clone(),
        }
    }

    pub(super) fn read(self) -> Result<RunRecord, ReadError> {
        let state: Result<RunState, _> = self.state.parse();
        let Value::Object(properties) = json("runs", &self.properties)? else {
            return Err(ReadError::Garbled("runs", "properties are no object".into()));
        };
        Ok(RunRecord {
            state: state.map_err(|_| ReadError::Garbled("runs", format!("{:?} is no state", self.state)))?,
            plan: Frozen::from_text(self.plan),
            properties,
            created: utc(self.created_at),
            started: self.started_at.map(utc),
            ended: self.ended_at.map(utc),
            id: self.id,
            pipeline: self.pipeline,
            plugin: self.plugin,
            version: self.version,
            short_name: self.short_name,
            subject: self.subject,
            owner: self.owner,
            product_group: self.product_group,
            status: self.status,
            cause: self.cause,
        })
    }
}

/// As it is kept; NUL, which PostgreSQL cannot hold, is escaped by JSON.
pub fn properties_text(properties: &serde_json::Map<String, serde_json::Value>) -> String {
    serde_json::Value::Object(properties.clone()).to_string()
}

#[derive(Queryable, Insertable, Selectable)]
#[diesel(table_name = run_attempts)]
pub struct Attempt {
    uuid: String,
    run_id: String,
    plugin: String,
    task: String,
    node: String,
    iteration: Option<i64>,
    item: Option<String>,
    tried: i64,
    parent: Option<String>,
    category: String,
    description: String,
    state: String,
    status: String,
    reason: String,
    started_at: Option<NaiveDateTime>,
    ended_at: Option<NaiveDateTime>,
    seq: Option<i64>,
    task_key: String,
    key_parts: String,
    ticket: Option<String>,
    properties: String,
}

impl Attempt {
    pub fn new(row: &AttemptRow) -> Self {
        Self {
            uuid: row.uuid.clone(),
            run_id: row.run.clone(),
            plugin: row.plugin.clone(),
            task: row.task.clone(),
            node: row.node.clone(),
            iteration: row.iteration.map(whole),
            item: row.item.as_ref().map(ToString::to_string),
            tried: i64::from(row.tried),
            parent: row.parent.clone(),
            category: clean(&row.category),
            description: clean(&row.description),
            state: row.state.as_str().into(),
            status: row.status.as_str().into(),
            reason: clean(&row.reason),
            started_at: row.started.map(naive),
            ended_at: row.ended.map(naive),
            seq: row.seq.map(whole),
            task_key: row.key.clone(),
            key_parts: row.key_parts.to_string(),
            ticket: row.ticket.as_ref().map(ToString::to_string),
            properties: properties_text(&row.properties),
        }
    }

    pub(super) fn read(self) -> Result<AttemptRow, ReadError> {
        const TABLE: &str = "run_attempts";
        let optional = |text: Option<String>| text.map(|t| json(TABLE, &t)).transpose();
        Ok(AttemptRow {
            iteration: self.iteration.map(count),
            item: optional(self.item)?,
            tried: u32::try_from(self.tried).unwrap_or(0),
            state: known(TABLE, &self.state, JobState::of)?,
            status: known(TABLE, &self.status, JobStatus::of)?,
            started: self.started_at.map(utc),
            ended: self.ended_at.map(utc),
            seq: self.seq.map(count),
            key_parts: json(TABLE, &self.key_parts)?,
            ticket: optional(self.ticket)?,
            properties: match json(TABLE, &self.properties)? {
                serde_json::Value::Object(properties) => properties,
                _ => return Err(ReadError::Garbled(TABLE, "properties are no object".into())),
            },
            uuid: self.uuid,
            run: self.run_id,
            plugin: self.plugin,
            task: self.task,
            node: self.node,
            parent: self.parent,
            category: self.category,
            description: self.description,
            reason: self.reason,
            key: self.task_key,
        })
    }
}

#[derive(Queryable, Insertable, Selectable)]
#[diesel(table_name = run_exceptions)]
pub struct Exception {
    attempt: String,
    kind: String,
    level: String,
    message: String,
}

impl Exception {
    pub fn new(row: &ExceptionRow) -> Self {
        Self {
            attempt: row.attempt.clone(),
            kind: row.kind.as_str().into(),
            level: row.level.as_str().into(),
            message: clean(&row.message),
        }
    }

    pub(super) fn read(self) -> Result<ExceptionRow, ReadError> {
        Ok(ExceptionRow {
            kind: known("run_exceptions", &self.kind, JobStatus::of)?,
            level: known("run_exceptions", &self.level, Level::of)?,
            attempt: self.attempt,
            message: self.message,
        })
    }
}

#[derive(Queryable, Insertable, Selectable)]
#[diesel(table_name = run_targets)]
pub struct TargetOf {
    attempt: String,
    run_id: String,
    role: String,
    name: String,
    label: String,
    dataset: String,
    version: String,
    level: String,
    path: String,
    size_bytes: i64,
    sha256: String,
    state: String,
    status: String,
    message: String,
}

impl TargetOf {
    pub fn new(row: &TargetRow) -> Self {
        Self {
            attempt: row.attempt.clone(),
            run_id: row.run.clone(),
            role: row.role.as_str().into(),
            name: clean(&row.name),
            label: clean(&row.label),
            dataset: row.dataset.clone(),
            version: row.version.clone(),
            level: row.level.clone(),
            path: clean(&row.path),
            size_bytes: whole(row.size),
            sha256: row.sha256.clone(),
            state: row.state.as_str().into(),
            status: row.status.as_str().into(),
            message: clean(&row.message),
        }
    }

    pub(super) fn read(self) -> Result<TargetRow, ReadError> {
        const TABLE: &str = "run_targets";
        Ok(TargetRow {
            role: known(TABLE, &self.role, Role::of)?,
            state: known(TABLE, &self.state, TargetState::of)?,
            status: known(TABLE, &self.status, JobStatus::of)?,
            size: count(self.size_bytes),
            attempt: self.attempt,
            run: self.run_id,
            name: self.name,
            label: self.label,
            dataset: self.dataset,
            version: self.version,
            level: self.level,
            path: self.path,
            sha256: self.sha256,
            message: self.message,
        })
    }
}

#[derive(Queryable, Insertable, Selectable)]
#[diesel(table_name = run_draws)]
pub struct Draw {
    run_id: String,
    seq: i64,
    loop_name: String,
    place: i64,
    item: Option<String>,
}

impl Draw {
    pub fn new(run: &str, row: &DrawRow) -> Self {
        Self {
            run_id: run.into(),
            seq: whole(row.seq),
            loop_name: row.loop_name.clone(),
            place: whole(row.index),
            item: row.item.as_ref().map(ToString::to_string),
        }
    }

    pub(super) fn read(self) -> Result<DrawRow, ReadError> {
        Ok(DrawRow {
            seq: count(self.seq),
            index: count(self.place),
            item: self.item.map(|t| json("run_draws", &t)).transpose()?,
            loop_name: self.loop_name,
        })
    }
}

#[derive(Queryable, Insertable, Selectable)]
#[diesel(table_name = run_log)]
pub struct Line {
    run_id: String,
    line: i64,
    at: NaiveDateTime,
    node: String,
    level: String,
    text: String,
}

impl Line {
    pub fn new(run: &str, row: &LogRow) -> Self {
        Self {
            run_id: run.into(),
            line: whole(row.line),
            at: naive(row.at),
            node: row.node.clone(),
            level: row.level.clone(),
            text: clean(&row.text),
        }
    }

    pub fn read(self) -> LogRow {
        LogRow {
            line: count(self.line),
            at: utc(self.at),
            node: self.node,
            level: self.level,
            text: self.text,
        }
    }
}

#[derive(Queryable, Insertable, Selectable)]
#[diesel(table_name = software_releases)]
pub struct Software {
    identifier: String,
    kind: String,
    version: String,
    date: String,
    author: String,
    digest: String,
    descriptor: String,
    registered_at: NaiveDateTime,
}

impl Software {
    pub fn new(row: &ReleaseRow) -> Self {
        Self {
            identifier: row.identifier.clone(),
            kind: row.kind.clone(),
            version: row.version.clone(),
            date: row.date.clone(),
            author: clean(&row.author),
            digest: row.digest.clone(),
            descriptor: row.descriptor.to_string(),
            registered_at: naive(row.registered),
        }
    }

    pub(super) fn read(self) -> Result<ReleaseRow, ReadError> {
        Ok(ReleaseRow {
            descriptor: json("software_releases", &self.descriptor)?,
            registered: utc(self.registered_at),
            identifier: self.identifier,
            kind: self.kind,
            version: self.version,
            date: self.date,
            author: self.author,
            digest: self.digest,
        })
    }
}

#[derive(Queryable, Insertable, Selectable)]
#[diesel(table_name = dataset_definitions)]
pub struct Dataset {
    identifier: String,
    version: String,
    level: String,
    name: String,
    plugin: String,
    plugin_version: String,
    task: String,
}

impl Dataset {
    pub fn new(row: &DatasetRow) -> Self {
        Self {
            identifier: row.identifier.clone(),
            version: row.version.clone(),
            level: row.level.clone(),
            name: clean(&row.name),
            plugin: row.plugin.clone(),
            plugin_version: row.plugin_version.clone(),
            task: row.task.clone(),
        }
    }

    pub fn read(self) -> DatasetRow {
        DatasetRow {
            identifier: self.identifier,
            version: self.version,
            level: self.level,
            name: self.name,
            plugin: self.plugin,
            plugin_version: self.plugin_version,
            task: self.task,
        }
    }
}

/// What changes on a run; what is none stays.
#[derive(AsChangeset)]
#[diesel(table_name = runs)]
pub struct Changes {
    state: Option<String>,
    status: Option<String>,
    cause: Option<String>,
    product_group: Option<String>,
    started_at: Option<NaiveDateTime>,
    ended_at: Option<NaiveDateTime>,
    properties: Option<String>,
}

impl Changes {
    pub fn new(change: &RunChange) -> Self {
        let at = |time: Option<UtcTime>| time.map(naive);
        Self {
            state: change.state.map(|s| s.to_string()),
            status: change.status.as_deref().map(clean),
            cause: change.cause.as_deref().map(clean),
            product_group: change.group.clone(),
            started_at: at(change.started),
            ended_at: at(change.ended),
            properties: change.properties.clone().map(|p| Value::Object(p).to_string()),
        }
    }
}
