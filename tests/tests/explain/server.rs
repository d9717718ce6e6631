//! An application that says its pod's name to who asks, and its sidecar.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    io,
    net::{Shutdown, TcpListener},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use culvert_testbed::{Family, Pod, Sidecar, cases::Mode};
use socket2::SockRef;

use crate::stage::PORT;

/// It serves both families until it is dropped.
pub(crate) struct Server {
    listeners: Vec<Arc<TcpListener>>,
    threads: Vec<JoinHandle<()>>,
    mode: Arc<Mutex<Mode>>,
}

impl Server {
    /// What it answers is the pod's name, and behind a blank the identity of a client who called it over mTLS.
    pub(crate) fn start(pod: &Pod, sidecar: &Sidecar) -> Self {
        let listeners = Family::ALL.map(|family| Arc::new(pod.listen(pod.address(family, PORT)).unwrap()));
        let mode = Arc::new(Mutex::new(Mode::Permissive));
        let serve = |listener: &Arc<TcpListener>| {
            let (listener, mode) = (Arc::clone(listener), Arc::clone(&mode));
            let (name, sidecar) = (pod.name().to_owned(), sidecar.clone());
            thread::spawn(move || serve(&listener, &name, &sidecar, &mode))
        };
        let threads = listeners.iter().map(serve).collect();
        Self { listeners: listeners.into(), threads, mode }
    }

    /// What its sidecar does from now on.
    pub(crate) fn set_mode(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

fn serve(listener: &TcpListener, name: &str, sidecar: &Sidecar, mode: &Mutex<Mode>) {
    let say = |client: Option<&str>| [name].into_iter().chain(client).collect::<Vec<_>>().join(" ");
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let mode = *mode.lock().unwrap();
                // Who is gone before the answer does not want it.
                drop(sidecar.answer(stream, mode, say));
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
