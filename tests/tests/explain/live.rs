//! Each case of the list, with agents, kernel programs and sockets, over IPv4 and IPv6: to a Service's address, to a
//! headless Service's pods, and to pods as such. What the agent says of it beforehand is what happens.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;

use culvert_testbed::{
    Family,
    cases::{Call, Case, Seen},
};

use crate::{common::seen, stage::Stage};

macro_rules! cases {
    ($($test:ident: $id:literal,)+) => {
        $(
            #[test]
            fn $test() {
                hold($id);
            }
        )+

        #[test]
        fn no_case_of_the_list_is_left_out() {
            let listed: Vec<_> = Case::all().unwrap().into_iter().map(|case| case.id).collect();
            assert_eq!(listed, [$($id),+]);
        }
    };
}

cases! {
    r1: "R1",
    r2: "R2",
    r3: "R3",
    r4: "R4",
    r5: "R5",
    r6: "R6",
    r7: "R7",
    r8: "R8",
    r9: "R9",
    r10: "R10",
    r11: "R11",
    r12: "R12",
    r13: "R13",
    r14: "R14",
    r15: "R15",
    the_first_step_of_the_migration: "step1",
    the_second_step_of_the_migration: "step2",
    the_third_step_of_the_migration: "step3",
    the_fourth_step_of_the_migration: "step4",
}

fn hold(id: &str) {
    let case = Case::of(id).unwrap();
    for is_headless in [false, true] {
        let stage = Stage::start(&case, is_headless);
        for call in &case.calls {
            check_explanation(&stage, call);
            for family in Family::ALL {
                if !is_headless {
                    check_service(&stage, call, family);
                }
                check_pods(&stage, call, family, is_headless);
            }
        }
    }
}

fn check_explanation(stage: &Stage, call: &Call) {
    let answer = stage.explain(&call.from, &call.to);
    assert_eq!(seen(&answer, "hbone"), call.seen, "{answer}");
    assert_eq!(answer["from"]["enrolled"], stage.is_enrolled(&call.from), "{answer}");
}

/// Endpoints have their turns, so ten calls meet them all.
fn check_service(stage: &Stage, call: &Call, family: Family) {
    let to = stage.service(&call.to, family);
    let met: Vec<_> = (0..10).map(|_| stage.call(&call.from, to)).collect();
    let refuses = call.seen.values().any(|seen| *seen == Seen::Fail);
    assert_eq!(met.contains(&None), refuses, "{} to {to}: {met:?}", call.from);
    let answered: BTreeMap<_, _> = met.into_iter().flatten().collect();
    let expected = call.seen.clone().into_iter().filter(|(_, seen)| *seen != Seen::Fail);
    assert_eq!(answered, expected.collect(), "{} to {to}", call.from);
}

/// A pod's address counts as that of a headless Service, and not as that of a Service with an address of its own.
fn check_pods(stage: &Stage, call: &Call, family: Family, is_headless: bool) {
    for (pod, of_service) in &call.seen {
        let to = stage.pod(pod, family);
        let answer = stage.explain(&call.from, &to.to_string());
        let said = seen(&answer, "hbone")[pod];
        if is_headless {
            assert_eq!(said, *of_service, "{answer}");
        }
        let met = stage.call(&call.from, to).map_or(Seen::Fail, |(_, seen)| seen);
        assert_eq!(met, said, "{} to {to}: {answer}", call.from);
    }
}
