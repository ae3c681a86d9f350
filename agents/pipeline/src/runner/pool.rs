//! Threads that carry attempts out, and the channel by which they tell.

use crate::{
    executors::Ticket,
    task::Said,
    worker::{Done, Order, carry_out},
};
use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
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

/// See the module's text. Threads are made when there is work for them, and end with the pool.
pub struct Pool {
    most: usize,
    threads: usize,
    busy: usize,
    work: Sender<Order>,
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
            threads: 0,
            busy: 0,
            work,
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
        if self.busy > self.threads && self.threads < self.most {
            self.threads += 1;
            let (taken, tell) = (self.taken.clone(), self.tell.clone());
            thread::spawn(move || {
                loop {
                    let next = match taken.lock() {
                        Ok(queue) => queue.recv(),
                        Err(_) => return,
                    };
                    let Ok(order) = next else { return };
                    if tell.send(Event::Done(Box::new(carry_out(order)))).is_err() {
                        return;
                    }
                }
            });
        }
        // The pool holds both ends.
        drop(self.work.send(order));
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
            self.told.recv_timeout(at_most).ok()
        };
        if matches!(event, Some(Event::Done(_))) {
            self.busy -= 1;
        }
        event
    }
}
