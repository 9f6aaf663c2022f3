//! Which numbers of which publisher have come: one that has lost its connection sends again what was not answered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

/// Publishers that are remembered.
const PUBLISHERS: usize = 10_000;

/// Stretches of a publisher's numbers that are remembered as not come yet.
const MISSING: usize = 16;

#[derive(Default)]
pub(super) struct Publishers {
    all: HashMap<String, Numbers>,
    by_age: BTreeMap<u64, String>,
    turn: u64,
}

/// Those of one.
struct Numbers {
    last: u64,
    /// Those below the last that have not come. A broker that answers each entry by itself may refuse one and take the next, as
    /// NATS does while a stream has no leader; what was refused is sent again, behind a greater number.
    missing: VecDeque<Range<u64>>,
    turn: u64,
}

impl Publishers {
    /// Whether this was not there before.
    pub(super) fn is_new(&mut self, by: &str, number: u64) -> bool {
        self.turn += 1;
        let turn = self.turn;
        let Some(numbers) = self.all.get_mut(by) else {
            let numbers = Numbers {
                last: number,
                missing: VecDeque::new(),
                turn,
            };
            self.all.insert(by.to_owned(), numbers);
            self.by_age.insert(turn, by.to_owned());
            self.forget();
            return true;
        };
        if !numbers.is_new(number) {
            return false;
        }
        let by = self.by_age.remove(&numbers.turn);
        let by = by.expect("each has its turn");
        numbers.turn = turn;
        self.by_age.insert(turn, by);
        true
    }

    fn forget(&mut self) {
        if self.all.len() > PUBLISHERS
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.all.remove(&oldest);
        }
    }
}

impl Numbers {
    fn is_new(&mut self, number: u64) -> bool {
        if number > self.last {
            self.miss(self.last + 1..number);
            self.last = number;
            return true;
        }
        let found = self.missing.iter().position(|all| all.contains(&number));
        let Some(all) = found.and_then(|index| self.missing.remove(index)) else {
            return false;
        };
        self.miss(all.start..number);
        self.miss(number + 1..all.end);
        true
    }

    fn miss(&mut self, all: Range<u64>) {
        if all.is_empty() {
            return;
        }
        self.missing.push_back(all);
        if self.missing.len() > MISSING {
            self.missing.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once_in_whatever_order() {
        let mut all = Publishers::default();
        let mut new = |by: &str, numbers: &[u64]| -> Vec<u64> {
            let new = numbers.iter().filter(|number| all.is_new(by, **number));
            new.copied().collect()
        };
        assert_eq!(new("a", &[1, 2, 1, 2, 3]), [1, 2, 3]);
        assert_eq!(
            new("a", &[9, 5, 9, 4, 8, 5, 6, 7, 7, 10]),
            [9, 5, 4, 8, 6, 7, 10]
        );
        // Nobody here knows what was before the first.
        assert_eq!(new("b", &[7, 6, 7, 9, 8]), [7, 9, 8]);
        assert_eq!(new("c", &[u64::MAX, 0, u64::MAX]), [u64::MAX]);
    }

    #[test]
    fn they_are_bounded() {
        let mut all = Publishers::default();
        for number in 0..100 {
            assert!(all.is_new("a", number * 10));
        }
        assert_eq!(all.all["a"].missing.len(), MISSING);
        for by in 0..PUBLISHERS {
            assert!(all.is_new(&format!("{by}"), 1));
        }
        assert_eq!((all.all.len(), all.by_age.len()), (PUBLISHERS, PUBLISHERS));
        assert!(!all.all.contains_key("a"));
    }
}
