//! Forward search over labels, exact to the second, guided and cut by the relaxation.
//!
//! A **label** is a partial plan seen from the moment the machine is free again: that moment, the jobs used, what is
//! left of the resources, the value so far. Labels are ranked by reduced value (prices paid for what they used), so
//! that one which spent a job others would need counts less. A label whose value plus the relaxation's best
//! continuation cannot beat the best plan is dropped. Of two labels with the same still-usable jobs, the later and
//! poorer one is dropped. Should no label ever be dropped for lack of room, the best plan found is optimal.
//!
//! By the left-shift argument a job starts either when the machine becomes free or when one of its ranges opens; with
//! losses (a preferred start) it may also start at any slot.

use super::relax::{SLACK, Search};
use super::{Draft, Meter};

/// Where a search runs: all of the horizon, or a hole in a plan.
pub(super) struct Room<'a> {
    /// The machine is free from here ..
    pub from_s: i64,
    /// .. and must be free again here.
    pub until_s: i64,
    /// (job, start) of the neighbours, for the setups.
    pub before: Option<(usize, i64)>,
    pub after: Option<(usize, i64)>,
    /// Slots searched: `first..end`.
    pub first: usize,
    pub end: usize,
    /// Jobs that may be used.
    pub allowed: &'a dyn Fn(usize) -> bool,
    /// Resources left.
    pub left: &'a [i64],
    /// Reduced values and best continuation (by slot) under the prices in force.
    pub reduced: &'a [f64],
    pub ahead: &'a [f64],
    /// Slots the machine may wait for a range to open.
    pub patience: usize,
    /// A complete label must reach this reduced value plus continuation; `f64::MIN` cuts nothing.
    pub cut: f64,
}

/// What a search found.
pub(super) struct Found {
    /// (job, start), in time order.
    pub placed: Vec<(usize, i64)>,
    pub value: f64,
    /// No label was dropped for lack of room.
    pub exhaustive: bool,
}

/// A label that waits for its slot. Its job set is its parent's with its own job added.
#[derive(Clone, Copy)]
struct Label {
    time_s: i64,
    start_s: i64,
    /// Reduced value so far.
    reduced: f64,
    /// True value so far.
    value: f64,
    parent: u32,
    /// `NONE`: the machine waited, and only a job whose range opens now may follow.
    job: u32,
    /// The job before, also across a wait, with its start; `NONE` where there is none.
    last: (u32, i64),
}

impl Label {
    fn before(&self) -> Option<(usize, i64)> {
        (self.last.0 != NONE).then_some((self.last.0 as usize, self.last.1))
    }
}

const NONE: u32 = u32::MAX;

/// What remains of a label once it was extended.
#[derive(Clone, Copy)]
struct Record {
    parent: u32,
    job: u32,
    start_s: i64,
    /// Where its set and resources are kept: slot (relative to the room) and row.
    slot: u32,
    row: u32,
}

/// Most jobs a search keeps apart; with more, only the most promising ones take part.
const MOST_JOBS: usize = 1024;

/// Most jobs tried after a label where setups are worked out.
const MOST_SETUPS: usize = 48;

/// Labels waiting for a slot.
#[derive(Default)]
struct Bucket {
    labels: Vec<Label>,
    /// Labels at or below this reduced value have no chance of being kept.
    floor: f64,
}

/// Sets and resources of a slot's records; kept while children may still need them.
#[derive(Default)]
struct Kept {
    sets: Vec<u64>,
    left: Vec<i64>,
    /// Last slot with a child.
    until: usize,
}

struct Beam<'a, 's> {
    search: &'a Search<'s>,
    room: &'a Room<'a>,
    width: usize,
    words: usize,
    resources: usize,
    /// Slots whose sets are still kept.
    held: Vec<usize>,
    /// Dense index of a job, `NONE` when it takes no part.
    dense: Vec<u32>,
    /// For each slot of the room, the set of jobs that may still start in it or later.
    usable: Vec<u64>,
    records: Vec<Record>,
    kept: Vec<Kept>,
    buckets: Vec<Bucket>,
    /// Ranges that open in the room: promise, slot, job, second; ascending by slot.
    openings: Vec<(f64, u32, u32, i64)>,
    /// Value, parent, job, start of the best plan met.
    best: (f64, u32, u32, i64),
    exhaustive: bool,
}

/// Hash of one job (a fixed mix of its dense index).
fn job_hash(d: u32) -> u64 {
    let z = (u64::from(d) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^ (z >> 29)
}

/// Searches a room with at most `width` labels per slot; the best plan met is returned, also when the meter stopped it.
///
/// `width` is meant for slots of a minute; finer slots get their share of it.
pub(super) fn run(search: &Search, room: &Room, width: usize, meter: &mut Meter) -> Found {
    let width = (width * search.grid.slot_s as usize / 60).clamp(2, width);
    let mut beam = Beam::new(search, room, width);
    for k in room.first..room.end {
        if k % 16 == 0 && meter.out_of_time() {
            beam.exhaustive = false;
            break;
        }
        beam.visit(k);
    }
    let mut placed = Vec::new();
    let (value, mut parent, job, start_s) = beam.best;
    if job != NONE {
        placed.push((job as usize, start_s));
    }
    while parent != NONE {
        let r = beam.records[parent as usize];
        if r.job != NONE {
            placed.push((r.job as usize, r.start_s));
        }
        parent = r.parent;
    }
    placed.reverse();
    Found {
        placed,
        value,
        exhaustive: beam.exhaustive,
    }
}

impl<'a, 's> Beam<'a, 's> {
    fn new(search: &'a Search<'s>, room: &'a Room<'a>, width: usize) -> Self {
        let slots = room.end.saturating_sub(room.first);
        let mut beam = Self {
            search,
            room,
            width,
            words: 1,
            resources: room.left.len(),
            held: Vec::new(),
            dense: Vec::new(),
            usable: Vec::new(),
            records: Vec::new(),
            kept: (0..slots).map(|_| Kept::default()).collect(),
            buckets: (0..slots)
                .map(|_| Bucket {
                    labels: Vec::new(),
                    floor: f64::MIN,
                })
                .collect(),
            openings: Vec::new(),
            best: (0.0, NONE, NONE, 0),
            // With setups a job may also start late in a way that the slots do not tell apart: nothing is proved.
            exhaustive: search.task.setup.is_none(),
        };
        beam.choose_jobs();
        let inside =
            |o: &&(u32, u32, i64)| (room.first..room.end).contains(&(o.0 as usize)) && beam.dense[o.1 as usize] != NONE;
        let openings = search.grid.opening.iter().filter(inside);
        beam.openings = openings
            .map(|(k, j, s)| (beam.promise(*k as usize, *j), *k, *j, *s))
            .collect();
        let root = Label {
            time_s: room.from_s,
            start_s: 0,
            reduced: 0.0,
            value: 0.0,
            parent: NONE,
            job: NONE,
            last: room.before.map_or((NONE, 0), |(j, s)| (j as u32, s)),
        };
        if let Some(bucket) = beam.buckets.first_mut() {
            bucket.labels.push(root);
        }
        beam
    }

    /// Gives the jobs of the room dense indices and works out until when each is usable.
    fn choose_jobs(&mut self) {
        let (g, room) = (&self.search.grid, self.room);
        let mut promise: Vec<f64> = vec![f64::MIN; self.search.task.jobs.len()];
        for k in room.first..room.end {
            for &j in g.arcs(k) {
                let i = j as usize;
                let end = (k + g.length[i] as usize).min(room.ahead.len() - 1);
                let p = room.reduced[i] + room.ahead[end] - room.ahead[k];
                promise[i] = promise[i].max(p);
            }
        }
        let mut jobs: Vec<usize> = (0..promise.len())
            .filter(|i| promise[*i] > f64::MIN && (room.allowed)(*i))
            .collect();
        if jobs.len() > MOST_JOBS {
            jobs.sort_by(|a, b| promise[*b].total_cmp(&promise[*a]).then(a.cmp(b)));
            jobs.truncate(MOST_JOBS);
            self.exhaustive = false;
        }
        self.dense = vec![NONE; promise.len()];
        for (d, i) in jobs.iter().enumerate() {
            self.dense[*i] = d as u32;
        }
        self.words = jobs.len().div_ceil(64).max(1);
        let slots = room.end - room.first;
        self.usable = vec![0; slots * self.words];
        for k in (0..slots).rev() {
            if k + 1 < slots {
                let (now, later) = self.usable.split_at_mut((k + 1) * self.words);
                now[k * self.words..].copy_from_slice(&later[..self.words]);
            }
            for &j in g.arcs(room.first + k) {
                let d = self.dense[j as usize];
                if d != NONE {
                    self.usable[k * self.words + d as usize / 64] |= 1 << (d % 64);
                }
            }
        }
    }

    fn push(&mut self, label: Label, slot: usize) {
        if slot >= self.room.end || label.reduced + self.room.ahead[slot] < self.room.cut {
            return;
        }
        let width = self.width;
        let bucket = &mut self.buckets[slot - self.room.first];
        if label.reduced <= bucket.floor {
            self.exhaustive = false;
            return;
        }
        bucket.labels.push(label);
        if let Some(parent) = self.records.get(label.parent as usize) {
            let until = &mut self.kept[parent.slot as usize].until;
            *until = (*until).max(slot - self.room.first);
        }
        // Many more than will be kept: drop the poorest early. Room for duplicates is left in the factor of 4.
        if bucket.labels.len() >= 8 * width {
            bucket.labels.select_nth_unstable_by(4 * width, order);
            bucket.labels.truncate(4 * width);
            bucket.floor = bucket.labels.iter().map(|l| l.reduced).fold(f64::MAX, f64::min);
            self.exhaustive = false;
        }
    }

    fn set_of(&self, r: &Record) -> &[u64] {
        &self.kept[r.slot as usize].sets[r.row as usize * self.words..(r.row as usize + 1) * self.words]
    }

    fn left_of(&self, r: &Record) -> &[i64] {
        &self.kept[r.slot as usize].left[r.row as usize * self.resources..(r.row as usize + 1) * self.resources]
    }

    /// Set (of jobs that are still usable), its hash, and resources of a waiting label.
    fn unfold(&self, label: &Label, alive: &[u64], set: &mut Vec<u64>, left: &mut Vec<i64>) -> u64 {
        let at = set.len();
        match self.records.get(label.parent as usize) {
            Some(r) => {
                set.extend_from_slice(self.set_of(r));
                left.extend_from_slice(self.left_of(r));
            }
            None => {
                set.resize(at + self.words, 0);
                left.extend_from_slice(self.room.left);
            }
        }
        if label.job != NONE {
            let d = self.dense[label.job as usize];
            set[at + d as usize / 64] |= 1 << (d % 64);
            let base = left.len() - self.resources;
            self.search.task.jobs[label.job as usize]
                .uses
                .iter()
                .for_each(|(r, a)| left[base + r] -= a);
        }
        // Under setups labels compare only after the same job.
        let mut hash = match label.last.0 {
            last if last != NONE && self.search.task.setup.is_some() => job_hash(!last),
            _ => 0,
        };
        for (w, mask) in alive.iter().enumerate() {
            set[at + w] &= mask;
            let mut rest = set[at + w];
            while rest != 0 {
                hash ^= job_hash((w * 64) as u32 + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
        hash
    }

    /// Takes the labels of a slot: duplicates and dominated ones go, then the poorest. Returns the ids of their records.
    fn settle(&mut self, at: usize) -> Vec<(u32, Label)> {
        let mut labels = std::mem::take(&mut self.buckets[at].labels);
        if labels.len() > 4 * self.width {
            labels.select_nth_unstable_by(4 * self.width, order);
            labels.truncate(4 * self.width);
            self.exhaustive = false;
        }
        labels.sort_unstable_by(order);
        let alive = &self.usable[at * self.words..(at + 1) * self.words];
        let mut kept = Kept::default();
        let mut out: Vec<(u32, Label)> = Vec::new();
        // Values decide between labels of the same set: reduced values also hold the prices of jobs that no longer
        // matter. A later label that beats an earlier one is simply kept beside it.
        let mut seen: std::collections::HashMap<u64, Vec<u32>, BuildPlain> = std::collections::HashMap::default();
        for label in labels {
            let row = out.len();
            if row == self.width {
                self.exhaustive = false;
                break;
            }
            let hash = self.unfold(&label, alive, &mut kept.sets, &mut kept.left);
            let left = |row: usize| &kept.left[row * self.resources..(row + 1) * self.resources];
            let same = seen.entry(hash).or_default();
            let beaten = same.iter().take(6).any(|k| {
                let other = &out[*k as usize].1;
                other.time_s <= label.time_s
                    && other.value >= label.value - SLACK
                    && (other.job != NONE || label.job == NONE)
                    && left(*k as usize).iter().zip(left(row)).all(|(x, y)| x >= y)
            });
            if beaten {
                kept.sets.truncate(row * self.words);
                kept.left.truncate(row * self.resources);
                continue;
            }
            same.push(row as u32);
            let record = Record {
                parent: label.parent,
                job: label.job,
                start_s: label.start_s,
                slot: at as u32,
                row: row as u32,
            };
            out.push((self.records.len() as u32, label));
            self.records.push(record);
        }
        self.kept[at] = kept;
        self.held.push(at);
        // Sets whose children have all been settled are no longer needed: memory stays bounded by the longest job.
        let all = &mut self.kept;
        self.held.retain(|k| {
            let needed = *k == at || all[*k].until > at;
            if !needed {
                all[*k] = Kept::default();
            }
            needed
        });
        out
    }

    /// Extends every label of a slot.
    fn visit(&mut self, slot: usize) {
        let at = slot - self.room.first;
        let labels = self.settle(at);
        let search = self.search;
        let (g, room) = (&search.grid, self.room);
        // Best continuation first, so that a label can stop at the first arc below the cut.
        let mut arcs: Vec<(f64, u32)> = Vec::new();
        if !labels.is_empty() {
            let here = g.arcs(slot).iter().filter(|j| self.dense[**j as usize] != NONE);
            arcs.extend(here.map(|j| (self.promise(slot, *j), *j)));
            arcs.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        }
        let later = self.openings.partition_point(|o| o.1 as usize <= slot);
        // A setup costs more to work out than the rest of a step: only the most promising are.
        let most = if search.is_guide() { MOST_SETUPS } else { usize::MAX };
        for (id, label) in labels {
            let mut tried = 0;
            for (promise, j) in &arcs {
                if label.reduced + promise < room.cut || tried == most {
                    break;
                }
                if self.has(id, *j) {
                    continue;
                }
                tried += 1;
                if let Some(start_s) = self.start(&label, *j as usize, slot) {
                    self.extend(id, &label, slot, *j, start_s);
                }
            }
            if search.lossy() {
                let next_slot_s = g.origin_s + (slot as i64 + 1) * g.slot_s;
                let time_s = label.time_s.max(next_slot_s);
                self.push(
                    Label {
                        time_s,
                        parent: id,
                        job: NONE,
                        ..label
                    },
                    slot + 1,
                );
                continue;
            }
            for k in later..self.openings.len() {
                let (promise, opens, j, start_s) = self.openings[k];
                let opens = opens as usize;
                if opens - slot > room.patience || label.reduced + room.ahead[opens] < room.cut {
                    break;
                }
                if label.reduced + promise >= room.cut
                    && let Some(start_s) = search.task.earliest(label.before(), start_s, j as usize)
                {
                    self.extend(id, &label, opens, j, start_s);
                }
            }
        }
    }

    /// Reduced value of starting a job in a slot, with the best continuation.
    fn promise(&self, slot: usize, j: u32) -> f64 {
        let end = slot + self.search.grid.length[j as usize] as usize;
        self.room.reduced[j as usize] + self.room.ahead[end.min(self.room.ahead.len() - 1)]
    }

    /// A record's set holds the job.
    fn has(&self, id: u32, j: u32) -> bool {
        let d = self.dense[j as usize];
        self.set_of(&self.records[id as usize])[d as usize / 64] >> (d % 64) & 1 == 1
    }

    fn extend(&mut self, id: u32, label: &Label, slot: usize, j: u32, start_s: i64) {
        let search = self.search;
        let i = j as usize;
        let record = self.records[id as usize];
        if self.has(id, j) {
            return;
        }
        let job = &search.task.jobs[i];
        let end_s = start_s + job.length_s;
        if end_s > self.room.until_s {
            return;
        }
        let left = self.left_of(&record);
        if job.uses.iter().any(|(r, a)| left[*r] < *a) {
            return;
        }
        let loss = job.loss_at(start_s, search.task.loss_step_s.max(1));
        let reduced = label.reduced + self.room.reduced[i] - loss;
        let value = label.value + job.value - loss;
        let after = self.room.after.filter(|_| search.task.setup.is_some());
        if value > self.best.0 + SLACK && after.is_none_or(|a| search.task.fits_between(None, (i, start_s), Some(a))) {
            self.best = (value, id, j, start_s);
        }
        let next = Label {
            time_s: end_s,
            start_s,
            reduced,
            value,
            parent: id,
            job: j,
            last: (j, start_s),
        };
        self.push(next, search.grid.slot(end_s).max(slot + 1));
    }

    /// The start of a job in this slot after a label, if it may start here.
    fn start(&self, label: &Label, i: usize, slot: usize) -> Option<i64> {
        let grid = &self.search.grid;
        let slot_s = grid.origin_s + slot as i64 * grid.slot_s;
        let slot_end_s = slot_s + grid.slot_s;
        let job = &self.search.task.jobs[i];
        let start = job.next_start(label.time_s.max(slot_s))?;
        if start >= slot_end_s {
            return None;
        }
        // After a wait only an opening range (or a loss that may have fallen) is a reason to start now.
        let waited = label.job == NONE && label.parent != NONE;
        let opens = waited && job.starts.iter().any(|r| r.0 == start && r.0 >= slot_s);
        if waited && !opens && job.loss.is_none() {
            return None;
        }
        // What a setup adds may lead into a later slot.
        self.search.task.earliest(label.before(), start, i)
    }
}

/// Best first: by reduced value, then the earlier, then by origin, so that equal searches are equal.
fn order(x: &Label, y: &Label) -> std::cmp::Ordering {
    y.reduced
        .total_cmp(&x.reduced)
        .then(x.time_s.cmp(&y.time_s))
        .then((x.job == NONE).cmp(&(y.job == NONE)))
        .then(x.parent.cmp(&y.parent))
        .then(x.job.cmp(&y.job))
}

/// Set hashes are mixed already.
type BuildPlain = std::hash::BuildHasherDefault<Plain>;

#[derive(Default)]
struct Plain(u64);

impl std::hash::Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|b| self.0 = self.0.rotate_left(8) ^ u64::from(*b));
    }
    fn write_u64(&mut self, x: u64) {
        self.0 = x;
    }
}

/// A guide may be this much too low, as a share of the best plan's value.
const GUIDE_SHARE: f64 = 0.01;

impl Search<'_> {
    /// One search over the whole horizon with the best prices; it may prove the best plan optimal.
    pub fn sweep(&mut self, width: usize, meter: &mut Meter) -> bool {
        let reduced = self.reduced(&self.prices);
        let ahead = std::mem::take(&mut self.ahead);
        let base = self.price_total(&self.prices);
        let better = self.sweep_under(width, meter, &reduced, &ahead, base);
        self.ahead = ahead;
        better
    }

    fn sweep_under(&mut self, width: usize, meter: &mut Meter, reduced: &[f64], ahead: &[f64], base: f64) -> bool {
        let room = Room {
            from_s: i64::MIN / 4,
            until_s: i64::MAX / 4,
            before: None,
            after: None,
            first: 0,
            end: self.grid.slots,
            allowed: &|_| true,
            left: &self.task.capacities,
            reduced,
            ahead,
            patience: usize::MAX,
            cut: self.goal()
                - base
                - SLACK
                - if self.is_guide() {
                    GUIDE_SHARE * self.best.value
                } else {
                    0.0
                },
        };
        let found = run(self, &room, width, meter);
        let draft: Draft = self.task.draft(found.placed);
        let better = self.offer(draft);
        if found.exhaustive && !better {
            self.proved = true;
        }
        better
    }
}
