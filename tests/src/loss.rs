//! A wire between two nodes that loses packets.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{DEADLINE, Node, netns};

/// What a node loses of another one's TCP; dropped, the wire is whole again.
pub struct Loss<'n> {
    node: &'n Node,
    table: String,
}

impl Node {
    /// Loses that many of a hundred packets of TCP that come from another node from here on, each by chance. What does
    /// not cross the wire between them is not touched.
    pub fn lose(&self, other: &Self, percent: u8) -> anyhow::Result<Loss<'_>> {
        let wire = other.link.device();
        // What a wire loses is no larger than its MTU, and a veth carries what is not yet cut to that.
        netns::batch(Some(&other.link.netns), &format!("link set {} gso_max_segs 1\n", self.link.device()))?;
        let table = format!("loss-{wire}");
        // In one rule, nft 1.0.6 makes one comparison of both ports' and counts all.
        let rules = format!(
            "table inet {table} {{\n\
             counter {LOST} {{}}\n\
             counter {STRAY} {{}}\n\
             chain strays {{\ntcp dport != {HBONE} counter name {STRAY}\n}}\n\
             chain arriving {{\n\
             type filter hook prerouting priority raw;\n\
             iifname {wire} tcp sport != {HBONE} jump strays\n\
             iifname {wire} meta l4proto tcp {} counter name {LOST} drop\n\
             }}\n\
             }}\n",
            chance(percent)
        );
        let mut nft = self.command("nft");
        netns::feed(nft.args(["-f", "-"]), &rules).with_context(|| format!("nft did not take\n{rules}"))?;
        Ok(Loss { node: self, table })
    }
}

const LOST: &str = "lost";
const STRAY: &str = "stray";
const HBONE: u16 = 15008;

fn chance(percent: u8) -> String {
    if percent >= 100 { String::new() } else { format!("numgen random mod 100 < {percent}") }
}

impl Loss<'_> {
    /// How many packets there were that did not arrive.
    pub fn lost(&self) -> anyhow::Result<u64> {
        self.counted(LOST)
    }

    /// How many packets of TCP came to the wire's end that belong to no HBONE tunnel, lost or not.
    pub fn stray(&self) -> anyhow::Result<u64> {
        self.counted(STRAY)
    }

    fn counted(&self, counter: &str) -> anyhow::Result<u64> {
        let mut nft = self.node.command("nft");
        let output = nft.args(["-j", "list", "counter", "inet", &self.table, counter]).output()?;
        ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let items = answer["nftables"].as_array().context("nft lists nothing")?;
        items.iter().find_map(|item| item["counter"]["packets"].as_u64()).context("nft lists no counter")
    }

    /// Waits until that many packets were lost.
    pub fn wait_until_lost(&self, packets: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while self.lost()? < packets {
            if Instant::now() >= deadline {
                bail!("fewer than {packets} packets were lost on the way to {}", self.node.name());
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Ok(())
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        // What stays goes with the node.
        let _ = self.node.command("nft").args(["delete", "table", "inet", &self.table]).status();
    }
}
