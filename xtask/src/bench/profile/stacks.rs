//! What folded stacks tell: where time went, in shares of all.

use std::collections::BTreeMap;

/// Shares of an agent's time; the largest first.
#[derive(Debug, PartialEq)]
pub(super) struct Stacks {
    /// In its own code, in one system call or another, or in interrupts.
    pub(super) places: Vec<(String, f64)>,
    /// By the function that ran, without those that it calls.
    pub(super) functions: Vec<(String, f64)>,
}

impl Stacks {
    /// Of lines that are `root;…;leaf weight`, with the kernel's functions marked.
    pub(super) fn of(folded: &str) -> Self {
        let (mut places, mut functions) = (BTreeMap::new(), BTreeMap::new());
        for (stack, weight) in folded.lines().filter_map(parse) {
            *places.entry(place(stack)).or_insert(0) += weight;
            *functions.entry(leaf(stack)).or_insert(0) += weight;
        }
        Self { places: shares(places), functions: shares(functions) }
    }
}

/// What marks a function of the kernel.
const KERNEL: &str = "_[k]";
/// Where the kernel takes system calls, on x86-64 and on aarch64.
const DISPATCHERS: [&str; 2] = ["do_syscall_64", "invoke_syscall"];
/// What the functions that it hands them to are called by, whichever the compiler has left on the stack.
const ENTRIES: [&str; 5] = ["__x64_sys_", "__arm64_sys_", "__do_sys_", "ksys_", "do_"];

fn parse(line: &str) -> Option<(&str, u64)> {
    let (stack, weight) = line.rsplit_once(' ')?;
    Some((stack, weight.parse().ok()?))
}

fn place(stack: &str) -> String {
    let kernel = || stack.split(';').filter_map(|frame| frame.strip_suffix(KERNEL));
    let entry = |frame: &str| Some(ENTRIES.iter().find_map(|entry| frame.strip_prefix(entry))?.to_owned());
    let below = kernel().skip_while(|frame| !DISPATCHERS.contains(frame)).skip(1);
    match below.take(2).find_map(entry) {
        Some(call) => call,
        None if stack.ends_with(KERNEL) => "kernel, other".to_owned(),
        None => "user".to_owned(),
    }
}

fn leaf(stack: &str) -> String {
    let leaf = stack.rsplit(';').next().unwrap_or(stack);
    leaf.strip_suffix(KERNEL).map_or_else(|| leaf.to_owned(), |function| format!("{function} (kernel)"))
}

#[expect(clippy::cast_precision_loss, reason = "shares are not that precise")]
fn shares(weights: BTreeMap<String, u64>) -> Vec<(String, f64)> {
    let all = weights.values().sum::<u64>() as f64;
    let mut shares: Vec<_> = weights.into_iter().map(|(name, weight)| (name, weight as f64 / all)).collect();
    shares.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_counts_for_its_system_call_and_for_its_function() {
        let folded = "worker;main;seal 2\n\
                      worker;main;writev;do_syscall_64_[k];do_writev_[k];tcp_sendmsg_[k] 5\n\
                      worker;main;seal;asm_sysvec_apic_timer_interrupt_[k] 1\n\
                      worker;main;do_syscall_64_[k];x64_sys_call_[k];__x64_sys_writev_[k];memcpy_[k] 2\n";
        let stacks = Stacks::of(folded);
        let named = |shares: &[(&str, f64)]| {
            shares.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect::<Vec<_>>()
        };
        assert_eq!(stacks.places, named(&[("writev", 0.7), ("user", 0.2), ("kernel, other", 0.1)]));
        assert_eq!(stacks.functions[0], ("tcp_sendmsg (kernel)".to_owned(), 0.5));
    }
}
