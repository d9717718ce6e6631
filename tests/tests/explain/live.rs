//! Each case of the list, with agents, kernel programs and sockets, over IPv4 and IPv6: to a Service's address, to a
//! headless Service's pods, and to pods as such, with HBONE and with sidecars. What the agent says of it beforehand is
//! what happens.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;

use culvert_testbed::{
    Family,
    cases::{Call, Case, Seen},
};

use crate::{
    common::{check_modes, seen},
    stage::{Services, Stage, sidecar_client},
};

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
    for services in [Services::Addressed, Services::Headless] {
        Trial { stage: Stage::start(&case, services), case: &case, services }.run();
    }
}

/// A case on its stage.
struct Trial<'a> {
    case: &'a Case,
    services: Services,
    stage: Stage,
}

impl Trial<'_> {
    /// And then with sidecars: a client's, and those of servers in the place of agents.
    fn run(mut self) {
        for call in &self.case.calls {
            self.check(call, "hbone");
            for family in Family::ALL {
                check_sidecar_client(&self.stage, self.case, call, family);
            }
        }
        let calls: Vec<_> =
            self.case.calls.iter().filter(|call| self.stage.is_enrolled(&call.from)).collect();
        self.stage.give_sidecars(&self.case.modes, &calls[0].from);
        for call in calls {
            self.check(call, "sidecar");
        }
    }

    /// The call by name, by the Service's addresses if it has them, and by those of its pods.
    fn check(&self, call: &Call, mtls: &str) {
        let Self { case, services, stage } = self;
        let answer = stage.explain(&call.from, &call.to);
        assert_eq!(seen(&answer, mtls), call.seen, "{answer}");
        assert_eq!(answer["from"]["enrolled"], stage.is_enrolled(&call.from), "{answer}");
        check_modes(case, &answer);
        for family in Family::ALL {
            let met = check_pods(stage, call, family, mtls);
            match services {
                Services::Addressed => check_service(stage, call, family),
                Services::Headless => {
                    assert_eq!(met, call.seen, "a pod's address counts as its headless Service's");
                }
            }
        }
    }
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

/// By their own addresses, which are not those of a Service with an address: what happens is what is said, and is
/// returned.
fn check_pods(stage: &Stage, call: &Call, family: Family, mtls: &str) -> BTreeMap<String, Seen> {
    let each = call.seen.keys().map(|pod| {
        let to = stage.pod(pod, family);
        let answer = stage.explain(&call.from, &to.to_string());
        let said = seen(&answer, mtls)[pod];
        let met = stage.call(&call.from, to).map_or(Seen::Fail, |(_, seen)| seen);
        assert_eq!(met, said, "{} to {to}: {answer}", call.from);
        (pod.clone(), said)
    });
    each.collect()
}

/// A client with a sidecar meets in plaintext what every client meets that is not enrolled, and over mTLS, where an
/// enrolled one would speak it, what that one meets.
fn check_sidecar_client(stage: &Stage, case: &Case, call: &Call, family: Family) {
    let is_other = |other: &&Call| other.to == call.to && !stage.is_enrolled(&other.from);
    let others = case.calls.iter().find(is_other);
    for (pod, seen_by_enrolled) in call.seen.iter().filter(|(pod, _)| stage.is_enrolled(pod)) {
        let to = stage.pod(pod, family);
        if let Some(others) = others {
            let answer = stage.explain(&sidecar_client(), &to.to_string());
            assert_eq!(seen(&answer, "sidecar")[pod], others.seen[pod], "{answer}");
            let met = stage.call(&sidecar_client(), to).map_or(Seen::Fail, |(_, seen)| seen);
            assert_eq!(met, others.seen[pod], "in plaintext to {to}");
        }
        if stage.is_enrolled(&call.from) && *seen_by_enrolled == Seen::Mtls {
            assert_eq!(stage.call_by_sidecar(to), Some((pod.clone(), Seen::Mtls)), "over mTLS to {to}");
        }
    }
}
