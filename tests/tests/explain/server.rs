//! An application that says its pod's name to who asks, and its sidecar.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io,
    net::{Shutdown, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
};

use culvert_testbed::{Family, Pod};
use socket2::SockRef;

use crate::{sidecar::Sidecar, stage::PORT};

/// It serves both families until it is dropped.
pub(crate) struct Server {
    listeners: Vec<Arc<TcpListener>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// What it answers is the pod's name, and behind a blank the identity of a client who called it over mTLS.
    pub(crate) fn start(pod: &Pod, sidecar: &Sidecar) -> Self {
        let listeners = Family::ALL.map(|family| Arc::new(pod.listen(pod.address(family, PORT)).unwrap()));
        let serve = |listener: &Arc<TcpListener>| {
            let (listener, name, sidecar) = (Arc::clone(listener), pod.name().to_owned(), sidecar.clone());
            thread::spawn(move || serve(&listener, &name, &sidecar))
        };
        let threads = listeners.iter().map(serve).collect();
        Self { listeners: listeners.into(), threads }
    }
}

fn serve(listener: &TcpListener, name: &str, sidecar: &Sidecar) {
    loop {
        match listener.accept() {
            // Who is gone before the answer does not want it.
            Ok((stream, _)) => {
                drop(
                    sidecar.answer(stream, |client| {
                        [name].into_iter().chain(client).collect::<Vec<_>>().join(" ")
                    }),
                );
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // Wakes up who waits in accept(); it cannot fail on a socket that listens.
            let _ = SockRef::from(&**listener).shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            // What went wrong there has been printed.
            let _ = thread.join();
        }
    }
}
