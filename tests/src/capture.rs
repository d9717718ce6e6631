//! What went over the wire between two nodes, as tcpdump saw it.

use std::{
    io::{ErrorKind, Read},
    net::{IpAddr, UdpSocket},
    process::{Child, ChildStdout, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Instant,
};

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::{
    DEADLINE, Node, Traffic,
    log::Log,
    netns,
    process::{signal, wait_until},
};

/// A recording that goes on.
pub struct Capture {
    tcpdump: Child,
    log: Log,
    bytes: Receiver<Vec<u8>>,
    netns: String,
    other: IpAddr,
}

impl Capture {
    /// Records what passes a device of a node, the one that leads to the node `other`.
    pub(crate) fn start(node: &Node, device: &str, other: IpAddr) -> anyhow::Result<Self> {
        let mut tcpdump = node.command("tcpdump");
        // Its buffer holds, in KiB, what a busy machine leaves it no time to read.
        tcpdump.args([
            "-i",
            device,
            "-w",
            "-",
            "-U",
            "--immediate-mode",
            "-B",
            "65536",
            "-s",
            "0",
            "-Z",
            "root",
        ]);
        tcpdump.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tcpdump = tcpdump.spawn().context("tcpdump cannot be started")?;
        let log = Log::default();
        log.follow(tcpdump.stderr.take().expect("it is piped"));
        let bytes = follow(tcpdump.stdout.take().expect("it is piped"));
        let capture = Self { tcpdump, log, bytes, netns: node.netns().to_owned(), other };
        capture.says(|line| line.contains("listening on"))?;
        Ok(capture)
    }

    /// Ends the recording, with everything in it that was sent before.
    pub fn stop(mut self) -> anyhow::Result<Traffic> {
        netns::within(&self.netns, || send_end(self.other))
            .context("the end of the recording cannot be marked")?;
        let recording = self.read_to_end_mark()?;
        signal(&self.tcpdump, Signal::INT)?;
        if wait_until(&mut self.tcpdump, Instant::now() + DEADLINE)?.is_none() {
            bail!("tcpdump does not end");
        }
        self.says(|line| line == "0 packets dropped by kernel").context("the recording has gaps")?;
        Traffic::parse(&recording)
    }

    fn read_to_end_mark(&self) -> anyhow::Result<Vec<u8>> {
        let deadline = Instant::now() + DEADLINE;
        let mut recording = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => recording.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => bail!("tcpdump ended:\n{}", self.log.text()),
                Err(RecvTimeoutError::Timeout) => bail!("tcpdump did not see the end of the recording"),
            }
            let tail = recording.len().saturating_sub(LAST_PACKETS);
            if recording[tail..].windows(END.len()).any(|window| window == END) {
                return Ok(recording);
            }
        }
    }

    fn says(&self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let found = self.log.wait_for(0, Instant::now() + DEADLINE, |line| wanted(&line.text).then_some(()));
        found.with_context(|| format!("tcpdump said:\n{}", self.log.text()))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // It has ended if the recording was stopped.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// A datagram with this payload ends a recording.
const END: &[u8] = b"culvert-testbed: the recording ends here";
/// The discard service (RFC 863).
const DISCARD: u16 = 9;
/// One read and the packet before it, which may be cut in two.
const LAST_PACKETS: usize = 2 * CHUNK;
const CHUNK: usize = 256 * 1024;

fn send_end(to: IpAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.send_to(END, (to, DISCARD)).map(drop)
}

fn follow(stdout: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || pump(stdout, &sender));
    receiver
}

fn pump(mut stdout: ChildStdout, sender: &Sender<Vec<u8>>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match stdout.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
            Ok(count) if sender.send(chunk[..count].to_vec()).is_err() => return,
            Ok(_) => {}
        }
    }
}
