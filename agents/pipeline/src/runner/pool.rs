//! Threads that carry attempts out, and the channel by which they tell.

use crate::{
    executors::Ticket,
    task::Said,
    worker::{Done, Order, carry_out},
};
use std::{
    fs,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
    time::Duration,
};

/// What is told.
pub enum Event {
    /// A node says something.
    Said(String, Said),
    Started(String, Ticket),
    Done(Box<Done>),
}

/// How often a receiver looks again before it sleeps, and how long it pauses in between: some fifty microseconds together.
/// To wake a thread that sleeps costs more than a short task. It does not yield: on a busy machine that would give a whole
/// turn away.
const LOOKS: usize = 100;
const PAUSES: usize = 24;

fn look<T>(channel: &Receiver<T>) -> Option<T> {
    for _ in 0..LOOKS {
        match channel.try_recv() {
            Ok(it) => return Some(it),
            Err(TryRecvError::Empty) => (0..PAUSES).for_each(|_| std::hint::spin_loop()),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
    None
}

/// See the module's text. Threads are made when there is work for them, and end with the pool.
pub struct Pool {
    most: usize,
    threads: Vec<thread::JoinHandle<()>>,
    busy: usize,
    /// Taken away when no more will come.
    work: Option<Sender<Order>>,
    taken: Arc<Mutex<Receiver<Order>>>,
    tell: Sender<Event>,
    told: Receiver<Event>,
}

impl Pool {
    pub fn new(most: usize) -> Self {
        let (work, taken) = channel();
        let (tell, told) = channel();
        Self {
            most: most.max(1),
            threads: Vec::new(),
            busy: 0,
            work: Some(work),
            taken: Arc::new(Mutex::new(taken)),
            tell,
            told,
        }
    }

    /// Where attempts tell what they say.
    pub fn teller(&self) -> Sender<Event> {
        self.tell.clone()
    }

    pub fn send(&mut self, order: Order) {
        self.busy += 1;
        if self.busy > self.threads.len() && self.threads.len() < self.most {
            let (taken, tell) = (self.taken.clone(), self.tell.clone());
            self.threads.push(thread::spawn(move || toil(&taken, &tell)));
        }
        if let Some(work) = &self.work {
            // The pool holds both ends.
            drop(work.send(order));
        }
    }

    /// Waits until nothing is under way, whatever comes of it.
    pub fn drain(&mut self) {
        while self.busy > 0 {
            drop(self.next(Duration::from_secs(1)));
        }
    }

    /// The next thing that is told, if any comes in time.
    pub fn next(&mut self, at_most: Duration) -> Option<Event> {
        let event = if at_most.is_zero() {
            self.told.try_recv().ok()
        } else {
            look(&self.told).or_else(|| self.told.recv_timeout(at_most).ok())
        };
        if matches!(event, Some(Event::Done(_))) {
            self.busy -= 1;
        }
        event
    }
}

impl Drop for Pool {
    /// Waits for folders that are still being removed; not for work that nobody wants any more.
    fn drop(&mut self) {
        self.work = None;
        if self.busy == 0 {
            self.threads.drain(..).for_each(|thread| drop(thread.join()));
        }
    }
}

/// Carries orders out until there will be no more.
fn toil(taken: &Mutex<Receiver<Order>>, tell: &Sender<Event>) {
    loop {
        let next = match taken.lock() {
            Ok(queue) => look(&queue).or_else(|| queue.recv().ok()),
            Err(_) => return,
        };
        let Some(order) = next else { return };
        let (done, spent) = carry_out(order);
        if tell.send(Event::Done(Box::new(done))).is_err() {
            return;
        }
        // What is next need not wait for this.
        if let Some(folder) = spent {
            drop(fs::remove_dir_all(folder));
        }
    }
}
