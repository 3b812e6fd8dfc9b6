//! The table of transitions in the documentation is what the decision does, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use weir_rollout::{Course, Step, Verb};

use crate::model::{Action, HOOKS, let_rest, play, wrong_at_rest};
use crate::world::{Quality, World, weighted};

/// How many lives are lived, each with a seed of its own.
const LIVES: u64 = 12_000;
/// How many things happen in each.
const LENGTH: usize = 240;

const BEGIN: &str = "<!-- transitions: begin -->";
const END: &str = "<!-- transitions: end -->";

/// Numbers without a pattern that matters here: Steele, Lea and Flood, SplitMix64 (OOPSLA 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn small(&mut self, n: u64) -> u32 {
        u32::try_from(self.below(n)).expect("small")
    }
}

fn action(numbers: &mut Numbers) -> Action {
    match numbers.below(60) {
        0..24 => Action::Step,
        24..26 => Action::CrashedStep,
        26..36 => Action::Cluster,
        36..46 => Action::Time(1 + numbers.below(40)),
        46 => Action::Push(1 + numbers.small(5)),
        47 => Action::TargetFails,
        48 => Action::PrimaryFails,
        49 => Action::DeletePrimary,
        50 => Action::EditPrimary(1 + numbers.small(5)),
        51 => Action::RouteGone,
        52 => Action::LoseMeasurement,
        53 => Action::Suspend(numbers.below(2) == 0),
        54 => Action::Provider(numbers.below(4) > 0),
        55..58 => {
            let kind = HOOKS[usize::try_from(numbers.below(7)).expect("small")];
            Action::Hook(kind, numbers.below(2) == 0)
        }
        58 => {
            let verb = Verb::ALL[usize::try_from(numbers.below(7)).expect("small")];
            Action::Ask(verb, u8::try_from(numbers.below(4)).expect("small"))
        }
        _ => Action::Served(u16::try_from(numbers.below(200)).expect("small")),
    }
}

fn born(numbers: &mut Numbers) -> World {
    let mut world = World::new();
    for n in 1..6 {
        let quality = match numbers.below(5) {
            0 => Quality::Faulty,
            1 => Quality::Broken,
            _ => Quality::Good,
        };
        world.quality.insert(n, quality);
    }
    let strategy = &mut world.strategy;
    strategy.skip_analysis = numbers.below(10) == 0;
    strategy.promotion_step = if numbers.below(2) == 0 { 0 } else { 30 };
    strategy.course = match numbers.below(6) {
        0 => Course::Matched { iterations: 2 },
        1 => Course::BlueGreen {
            iterations: 2,
            mirror: numbers.below(2) == 0,
        },
        2 => Course::Weighted {
            steps: vec![
                Step {
                    manual: true,
                    ..Step::at(20)
                },
                Step {
                    min_requests: 100,
                    ..Step::at(60)
                },
            ],
            mirror: true,
        },
        _ => weighted(&[10, 50]),
    };
    strategy.hooks = HOOKS
        .into_iter()
        .filter(|_| numbers.below(4) == 0)
        .collect();
    strategy.bake = (numbers.below(2) == 0).then(|| Duration::from_secs(45));
    strategy.rollback_window = usize::try_from(numbers.below(3)).expect("small");
    world
}

/// From, to, what was decided, and how the run ended if it did.
type Row = (String, String, String, String);

fn lived(seed: u64, rows: &mut BTreeSet<Row>) {
    let mut numbers = Numbers(seed);
    let mut world = born(&mut numbers);
    let mut deleted = false;
    for n in 0..LENGTH {
        if n == LENGTH - 20 && numbers.below(4) == 0 {
            world.deleting = true;
            deleted = true;
        }
        // Gates that never open and pods that never come back would keep most lives from their end.
        if n % 20 == 0 && numbers.below(2) == 0 {
            world.closed.clear();
            world.provider_up = true;
            world.suspended = false;
            world.served = 200.0;
        }
        let before = world.state();
        let action = action(&mut numbers);
        // A deleted Canary has no people around it any more.
        if deleted && !matches!(action, Action::Step | Action::Cluster | Action::Time(_)) {
            continue;
        }
        play(&mut world, &action);
        let after = world.state();
        if before.phase == after.phase {
            continue;
        }
        let run = after.run.as_ref();
        let before_ended = before.run.as_ref().and_then(|r| r.ended);
        let ending = run.filter(|r| r.ended.is_some() && r.ended != before_ended);
        let ending = ending.and_then(|r| r.ending);
        rows.insert((
            before.phase.as_str().to_owned(),
            after.phase.as_str().to_owned(),
            run.map_or(String::new(), |r| format!("{:?}", r.decision)),
            ending.map_or(String::new(), |e| format!("{e:?}")),
        ));
    }
    if !deleted {
        let last = let_rest(&mut world);
        let wrong = wrong_at_rest(&mut world, &last);
        assert_eq!(wrong, None);
    }
}

/// Says which life it was, if it ends in a panic.
struct Named(u64);

impl Drop for Named {
    #[expect(
        clippy::print_stderr,
        reason = "a panic is under way, and this is what explains it"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("life {seed}; again: WEIR_SEED={seed} cargo test -p weir-rollout the_table");
        }
    }
}

#[test]
fn the_table_in_the_documentation_is_what_happens() {
    let mut rows = BTreeSet::new();
    let only = std::env::var("WEIR_SEED").ok().and_then(|s| s.parse().ok());
    for seed in only.map_or(0..LIVES, |seed: u64| seed..seed + 1) {
        let named = Named(seed);
        lived(seed, &mut rows);
        drop(named);
    }
    if only.is_some() {
        return;
    }
    // One line for each pair of phases, with all that leads from one to the other.
    let mut pairs: BTreeMap<(String, String), (BTreeSet<String>, BTreeSet<String>)> =
        BTreeMap::new();
    for (from, to, decided, ended) in rows {
        let entry = pairs.entry((from, to)).or_default();
        entry.0.insert(decided);
        entry.1.insert(ended);
    }
    let mut table = String::from("| from | to | decided | the run ended as |\n|---|---|---|---|\n");
    let list = |all: &BTreeSet<String>| {
        let all: Vec<&str> = all
            .iter()
            .map(String::as_str)
            .filter(|s| !s.is_empty())
            .collect();
        all.join(", ")
    };
    for ((from, to), (decided, ended)) in &pairs {
        let from = if from.is_empty() { "(new)" } else { from };
        let _ = writeln!(
            table,
            "| {from} | {to} | {} | {} |",
            list(decided),
            list(ended)
        );
    }
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/canary.md");
    let text = std::fs::read_to_string(&document).expect("the documentation is there");
    let (head, rest) = text.split_once(BEGIN).expect("it has the table");
    let (held, tail) = rest.split_once(END).expect("which ends");
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        let next = format!("{head}{BEGIN}\n{table}{END}{tail}");
        std::fs::write(&document, next).expect("written");
        return;
    }
    assert_eq!(
        held.trim(),
        table.trim(),
        "write it anew: WEIR_WRITE_DOCS=1 cargo test -p weir-rollout the_table"
    );
}

/// Phases that the decision never records are only read, as another controller left them.
#[test]
fn r32_no_phase_is_dead() {
    use weir_rollout::Phase::{
        Failed, Finalising, Initialized, Initializing, Progressing, Promoting, Succeeded,
        Terminating, Waiting, WaitingPromotion,
    };
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/canary.md");
    let text = std::fs::read_to_string(&document).expect("the documentation is there");
    let (_, rest) = text.split_once(BEGIN).expect("it has the table");
    let (table, _) = rest.split_once(END).expect("which ends");
    let reached: BTreeSet<&str> = table
        .lines()
        .skip(3)
        .filter_map(|row| Some(row.split('|').nth(2)?.trim()))
        .collect();
    let live = [
        Failed,
        Finalising,
        Initialized,
        Initializing,
        Progressing,
        Promoting,
        Succeeded,
        Terminating,
        Waiting,
        WaitingPromotion,
    ];
    assert_eq!(reached, live.iter().map(|phase| phase.as_str()).collect());
}
