//! Many futures in one task: a wake-up is a bit, and the task polls all that are due in one go.
//!
//! An event that a thousand streams wait for wakes the runtime once, not a thousand times; and the streams of an
//! HTTP/2 connection have all written before the connection flushes.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use slab::Slab;
use smallvec::SmallVec;

/// The number of the task's own future, which is polled with the members but is none of them.
const OWNER: u32 = 0;

/// How often members that wake each other are polled before other tasks have their turn.
const ROUNDS: usize = 4;

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Futures that one task polls.
pub struct Bundle {
    members: Slab<Member>,
    spawner: Spawner,
    /// Those that are polled in this round.
    turn: Bits,
}

struct Member {
    future: Boxed,
    waker: Waker,
}

/// Adds futures to a bundle.
#[derive(Clone)]
pub struct Spawner(Arc<Wakes>);

/// Which futures of a bundle are due, and those that it does not have yet.
struct Wakes {
    fresh: Mutex<Vec<Boxed>>,
    due: Mutex<Due>,
    task: AtomicWaker,
    /// The member that is being polled.
    polled: AtomicU32,
    /// Whether nothing but a bell has woken it.
    only_rung: AtomicBool,
    /// How many polls of members have begun.
    polls: AtomicU64,
    /// Whether the task's own future was woken, or has never been polled.
    owner: AtomicBool,
}

/// A bit for each number, in words of 64; few enough of them lie where the rest lies.
type Bits = SmallVec<[Word; 2]>;

#[derive(Clone, Copy, Default)]
struct Word {
    due: u64,
    /// Those of them that were woken by their wakers.
    woken: u64,
}

#[derive(Default)]
struct Due {
    bits: Bits,
    /// Whether the task knows that somebody is due.
    awake: bool,
    bells: Bells,
}

/// Whom each bell wakes: nobody but the owner, before its member is known and after it is gone. Few of them lie where the
/// rest lies.
#[derive(Default)]
struct Bells {
    numbers: SmallVec<[u32; 4]>,
    free: Vec<u32>,
}

impl Bells {
    fn add(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.numbers.push(OWNER);
            self.numbers.len() as u32 - 1
        })
    }

    fn number(&mut self, key: u32) -> &mut u32 {
        &mut self.numbers[key as usize]
    }

    fn remove(&mut self, key: u32) {
        *self.number(key) = OWNER;
        self.free.push(key);
    }
}

impl Bundle {
    /// Without members.
    pub fn new() -> Bundle {
        let wakes = Wakes {
            fresh: Mutex::default(),
            due: Mutex::default(),
            task: AtomicWaker::new(),
            polled: AtomicU32::new(OWNER),
            only_rung: AtomicBool::new(false),
            polls: AtomicU64::new(0),
            owner: AtomicBool::new(true),
        };
        Bundle {
            members: Slab::new(),
            spawner: Spawner(Arc::new(wakes)),
            turn: Bits::default(),
        }
    }

    /// What adds members.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Polls what is due, and what becomes due by that.
    pub fn poll(&mut self, cx: &Context<'_>) {
        let wakes = self.spawner.0.clone();
        wakes.task.register(cx.waker());
        for _ in 0..ROUNDS {
            self.adopt();
            // From here on a wake-up is for the next round.
            if !wakes.take(&mut self.turn) {
                return;
            }
            let turn = mem::take(&mut self.turn);
            // Nobody is always first: where there is not enough for all, it would take all.
            let first = anybody(&turn);
            for (number, is_woken) in numbers(&turn, first) {
                wakes.only_rung.store(!is_woken, Ordering::Relaxed);
                self.poll_member(number, &wakes);
            }
            self.turn = turn;
        }
        cx.waker().wake_by_ref();
    }

    /// Polls the members, and then the task's own future if it was woken. If it was not, `after` is called instead, and
    /// says whether the future has nothing to do with what the members did.
    pub fn before<F, A>(self, owner: F, after: A) -> With<F, A>
    where
        A: FnMut(&mut Context<'_>) -> bool,
    {
        With {
            waker: waker(&self.spawner.0, OWNER),
            bundle: self,
            owner,
            after,
        }
    }

    fn adopt(&mut self) {
        let shared = &self.spawner.0;
        for future in mem::take(&mut *shared.fresh()) {
            let entry = self.members.vacant_entry();
            let number = entry.key() as u32 + 1;
            let waker = waker(shared, number);
            waker.wake_by_ref();
            entry.insert(Member { future, waker });
        }
    }

    fn poll_member(&mut self, number: u32, wakes: &Wakes) {
        let key = number as usize - 1;
        // It may have ended since it was woken.
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        wakes.polled.store(number, Ordering::Relaxed);
        let polls = wakes.polls.load(Ordering::Relaxed);
        wakes.polls.store(polls + 1, Ordering::Relaxed);
        let mut cx = Context::from_waker(&member.waker);
        if member.future.as_mut().poll(&mut cx).is_ready() {
            self.members.remove(key);
        }
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // They may hold a spawner, and so themselves.
        self.spawner.0.fresh().clear();
    }
}

/// A future that is polled after the members of a bundle, if it was woken. What it must see of them wakes it.
pub struct With<F, A> {
    bundle: Bundle,
    owner: F,
    waker: Waker,
    after: A,
}

impl<F, A> Future for With<F, A>
where
    F: Future + Unpin,
    A: FnMut(&mut Context<'_>) -> bool + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        this.bundle.poll(cx);
        let mut cx = Context::from_waker(&this.waker);
        let wakes = &this.bundle.spawner.0;
        let is_woken = wakes.owner.swap(false, Ordering::AcqRel);
        if !is_woken && (this.after)(&mut cx) {
            return Poll::Pending;
        }
        Pin::new(&mut this.owner).poll(&mut cx)
    }
}

impl Spawner {
    /// Adds a member.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.fresh().push(Box::pin(future));
        self.0.wake(OWNER);
    }

    /// Whether nothing but a bell has woken the member that is being polled: what it waits for otherwise has not come.
    pub fn is_only_rung(&self) -> bool {
        self.0.only_rung.load(Ordering::Relaxed)
    }

    /// A bell for a member that is yet to be.
    pub fn bell(&self) -> Bell {
        let wakes = self.0.clone();
        let key = wakes.due().bells.add();
        Bell(Kind::Member {
            wakes,
            key,
            waited: 0,
        })
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}

impl Wakes {
    fn fresh(&self) -> MutexGuard<'_, Vec<Boxed>> {
        self.fresh.lock().expect("nothing panics under this lock")
    }

    fn wake(&self, number: u32) {
        let mut due = self.due();
        let (word, bit) = place(&mut due.bits, number);
        word.due |= bit;
        word.woken |= bit;
        self.rouse(due);
    }

    fn rouse(&self, mut due: MutexGuard<'_, Due>) {
        let was_awake = mem::replace(&mut due.awake, true);
        drop(due);
        if !was_awake {
            self.task.wake();
        }
    }

    /// Takes who is due into `turn`; whether anybody is. If not, the next one wakes the task.
    fn take(&self, turn: &mut Bits) -> bool {
        turn.fill(Word::default());
        let mut due = self.due();
        let (word, bit) = place(&mut due.bits, OWNER);
        if word.due & bit != 0 {
            word.due &= !bit;
            self.owner.store(true, Ordering::Release);
        }
        due.awake = due.bits.iter().any(|word| word.due != 0);
        if due.awake {
            mem::swap(turn, &mut due.bits);
        }
        due.awake
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().expect("nothing panics under this lock")
    }
}

/// The word that a number's bit is in, and the bit.
fn place(bits: &mut Bits, number: u32) -> (&mut Word, u64) {
    let index = number as usize / 64;
    if index >= bits.len() {
        bits.resize(index + 1, Word::default());
    }
    (&mut bits[index], 1 << (number % 64))
}

fn waker(wakes: &Arc<Wakes>, number: u32) -> Waker {
    struct Alarm {
        wakes: Arc<Wakes>,
        number: u32,
    }
    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }
        fn wake_by_ref(self: &Arc<Self>) {
            self.wakes.wake(self.number);
        }
    }
    let wakes = wakes.clone();
    Arc::new(Alarm { wakes, number }).into()
}

/// The number of somebody who is due, everybody's as likely.
fn anybody(bits: &Bits) -> usize {
    let count = |word: &Word| word.due.count_ones() as usize;
    let all = bits.iter().map(count).sum::<usize>();
    let mut left = fastrand::usize(..all.max(1));
    for (index, word) in bits.iter().enumerate() {
        if left < count(word) {
            let others = (0..left).fold(word.due, |rest, _| rest & (rest - 1));
            return index * 64 + others.trailing_zeros() as usize;
        }
        left -= count(word);
    }
    0
}

/// Who is due, and whether a waker has woken it: from this number on, then those before it.
fn numbers(bits: &Bits, first: usize) -> impl Iterator<Item = (u32, bool)> {
    let (split, before) = (first / 64, (1 << (first % 64)) - 1);
    let words = move |mask: u64| {
        let part = move |(index, word): (usize, &Word)| {
            let due = if index == split {
                word.due & mask
            } else {
                word.due
            };
            (index as u32, due, word.woken)
        };
        bits.iter().enumerate().map(part)
    };
    let words = words(!before)
        .skip(split)
        .chain(words(before).take(split + 1));
    words.flat_map(|(index, mut rest, woken)| {
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros())?;
            rest &= rest - 1;
            Some((index * 64 + bit, woken & 1 << bit != 0))
        })
    })
}

/// Wakes the future that waits at it, however often it is rung. Clones are the same bell.
#[derive(Clone)]
pub struct Bell(Kind);

#[derive(Clone)]
enum Kind {
    /// For whoever waits last, in whatever task.
    Alone(Arc<AtomicWaker>),
    /// For one member of a bundle: no waker changes hands.
    Member {
        wakes: Arc<Wakes>,
        key: u32,
        /// The poll in which its owner last waited; 0 before it is known whom to wake.
        waited: u64,
    },
}

impl Bell {
    /// A bell for a future that may be polled anywhere.
    pub fn alone() -> Bell {
        Bell(Kind::Alone(Arc::default()))
    }

    /// Wakes who waits at any of these; those of one bundle, next to each other, in one go.
    pub fn ring_all<'a>(bells: impl IntoIterator<Item = &'a Bell>) {
        let mut open: Option<(&Arc<Wakes>, MutexGuard<'_, Due>)> = None;
        let close = |(wakes, due): (&Arc<Wakes>, MutexGuard<'_, Due>)| wakes.rouse(due);
        for bell in bells {
            let wakes = match &bell.0 {
                Kind::Alone(_) => None,
                Kind::Member { wakes, .. } => Some(wakes),
            };
            // Before anything else is woken, which may want the same lock.
            if let Some(other) =
                open.take_if(|(last, _)| !wakes.is_some_and(|w| Arc::ptr_eq(last, w)))
            {
                close(other);
            }
            match &bell.0 {
                Kind::Alone(waker) => waker.wake(),
                Kind::Member { wakes, key, .. } => {
                    let (_, due) = open.get_or_insert_with(|| (wakes, wakes.due()));
                    // A clone may outlive the bell: then nobody is woken, or somebody for nothing.
                    let number = *due.bells.number(*key);
                    let (word, bit) = place(&mut due.bits, number);
                    word.due |= bit;
                }
            }
        }
        if let Some(last) = open {
            close(last);
        }
    }

    /// Waits, when there is nothing to be had.
    pub fn wait(&mut self, cx: &Context<'_>) -> Look {
        match &mut self.0 {
            Kind::Alone(waker) => {
                waker.register(cx.waker());
                Look::Again
            }
            Kind::Member { wakes, key, waited } => {
                let is_tied = *waited != 0;
                *waited = wakes.polls.load(Ordering::Relaxed);
                if is_tied {
                    return Look::NoMore;
                }
                let number = wakes.polled.load(Ordering::Relaxed);
                *wakes.due().bells.number(*key) = number;
                Look::Again
            }
        }
    }

    /// Whether its owner has waited in this very poll: what came since leads to another.
    pub fn has_waited(&self) -> bool {
        match &self.0 {
            Kind::Alone(_) => false,
            Kind::Member { wakes, waited, .. } => *waited == wakes.polls.load(Ordering::Relaxed),
        }
    }

    /// Rings for nobody any more.
    pub fn retire(&self) {
        if let Kind::Member { wakes, key, .. } = &self.0 {
            wakes.due().bells.remove(*key);
        }
    }
}

/// Whether to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Something may have come before anybody waited.
    Again,
    /// What comes after this poll has begun leads to another.
    NoMore,
}
