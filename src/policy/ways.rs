//! All ways through a pattern at once, a bit for each of its steps: what a value costs grows with its length, and with
//! nothing else.

use super::pattern::Field;

/// The most steps that a pattern has: each is at least one of its characters.
pub(super) const MAX_STEPS: usize = crate::api::MAX_PATTERN as usize;

/// What a pattern has between the literals with which it begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// This character.
    Char(char),
    /// `*`.
    Run,
    /// `**`.
    DeepRun,
}

/// Whether `steps` lead through the whole of `value`. With `star_begins`, a run that is the first step covers a `*` that
/// `value` begins with.
pub(super) fn lead_through(steps: &[Step], field: Field, value: &str, star_begins: bool) -> bool {
    const {
        assert!(MAX_STEPS <= 4 * 64);
    }
    match steps.len() {
        0 => value.is_empty(),
        // Each step takes a character or more.
        long if long > value.len() => false,
        1..=64 => follow::<1>(steps, field, value, star_begins),
        65..=128 => follow::<2>(steps, field, value, star_begins),
        129..=MAX_STEPS => follow::<4>(steps, field, value, star_begins),
        // There is no such pattern.
        _ => false,
    }
}

/// A bit for each step.
type Steps<const N: usize> = [u64; N];

fn follow<const N: usize>(steps: &[Step], field: Field, value: &str, star_begins: bool) -> bool {
    let none: Steps<N> = [0; N];
    // Where an ASCII character stands, and which runs cover what no run, only a deep one, and each covers.
    let mut letters = [none; 128];
    let mut covers = [none; 3];
    for (at, step) in steps.iter().enumerate() {
        let put = |steps: &mut Steps<N>| steps[at / 64] |= 1 << (at % 64);
        match step {
            Step::Char(c) => letters.get_mut(*c as usize).into_iter().for_each(put),
            Step::Run => put(&mut covers[2]),
            Step::DeepRun => covers[1..].iter_mut().for_each(put),
        }
    }
    // The steps that what was read so far may end with, and those besides that are runs and go on behind a space.
    let (mut ends, mut open) = (none, none);
    for (index, c) in value.chars().enumerate() {
        let begins = index == 0;
        let covered = (' '..='~').contains(&c) && (c != '*' || (begins && star_begins));
        let cover = covers[if covered { 2 - usize::from(field.separates(c)) } else { 0 }];
        let letter = match letters.get(c as usize) {
            Some(letter) => *letter,
            None => standing(steps, c),
        };
        // No run begins or ends with a space.
        let whole = if c == ' ' { 0 } else { u64::MAX };
        let (mut before, mut alive) = (u64::from(begins), 0);
        for word in 0..N {
            let next = (ends[word] << 1) | before;
            before = ends[word] >> 63;
            let entered = next & (letter[word] | (cover[word] & whole));
            let longer = open[word] & cover[word];
            ends[word] = entered | (longer & whole);
            open[word] = entered | longer;
            alive |= open[word];
        }
        if alive == 0 {
            return false;
        }
    }
    let last = steps.len() - 1;
    ends[last / 64] >> (last % 64) & 1 == 1
}

/// Whether `steps` lead through some text that `value` stands for, each `*` in it for any text without a dot, where either run
/// covers everything.
pub(super) fn meet(steps: &[Step], value: &str) -> bool {
    // A bit for having come before each step, and one for having come through all.
    const N: usize = MAX_STEPS / 64 + 1;
    if steps.len() > MAX_STEPS {
        // There is no such pattern for the names that these are.
        return true;
    }
    let none: Steps<N> = [0; N];
    let (mut letters, mut runs, mut passes) = ([none; 128], none, none);
    for (at, step) in steps.iter().enumerate() {
        let put = |steps: &mut Steps<N>| steps[at / 64] |= 1 << (at % 64);
        match step {
            Step::Char(c) => {
                letters.get_mut(*c as usize).into_iter().for_each(put);
                if *c != '.' {
                    put(&mut passes);
                }
            }
            Step::Run | Step::DeepRun => [&mut runs, &mut passes].into_iter().for_each(put),
        }
    }
    let mut before = none;
    before[0] = 1;
    pass(&mut before, &runs);
    for c in value.chars() {
        if c == '*' {
            pass(&mut before, &passes);
            continue;
        }
        let letter = match letters.get(c as usize) {
            Some(letter) => *letter,
            None => standing(steps, c),
        };
        let (mut behind, mut alive) = (0, 0);
        for word in 0..N {
            let met = before[word] & letter[word];
            before[word] = met << 1 | behind | (before[word] & runs[word]);
            behind = met >> 63;
            alive |= before[word];
        }
        if alive == 0 {
            return false;
        }
        pass(&mut before, &runs);
    }
    before[steps.len() / 64] >> (steps.len() % 64) & 1 == 1
}

/// Whoever stands before steps that may be passed, one behind the other, may stand behind each: as a sum carries over ones.
fn pass<const N: usize>(before: &mut Steps<N>, passes: &Steps<N>) {
    let mut carry = false;
    for (before, passes) in before.iter_mut().zip(passes) {
        let (sum, over) = passes.overflowing_add(*before & passes);
        let (sum, over_too) = sum.overflowing_add(u64::from(carry));
        carry = over || over_too;
        *before |= sum ^ passes;
    }
}

/// Where `c` stands. No run covers what is not ASCII, so that few are looked for before all ways have ended.
fn standing<const N: usize>(steps: &[Step], c: char) -> Steps<N> {
    let mut standing = [0; N];
    for at in (0..steps.len()).filter(|at| steps[*at] == Step::Char(c)) {
        standing[at / 64] |= 1 << (at % 64);
    }
    standing
}
