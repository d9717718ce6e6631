//! What all inbound connections have in common: the last step, to the pod's application, which sees the client's address.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
};

use culvert_policy::{Reason, Transport};
use socket2::Socket;

use super::{
    Kernel, dial,
    enrolled::Enrolled,
    failure::Failure,
    leg::{self, Tcp},
    relay::{Carried, close},
};
use crate::observe::Record;

/// Authorise, connect; with the reason for which the client is let in.
pub(super) async fn reach(
    enrolled: &Rc<Enrolled>,
    by: Transport,
    target: SocketAddr,
    client: SocketAddr,
) -> Result<(Reason, Tcp, Announced), Failure> {
    let reason = enrolled.context.decide.admit(&enrolled.pod, by, target.port())?;
    let (socket, agent) = socket(enrolled, target.ip()).await.map_err(|error| dial::exhausted(&error))?;
    let announced = Announced::new(enrolled, agent, client)?;
    let app = dial::connect(socket, target).await.map_err(|error| {
        Failure::new(
            Reason::AppUnreachable,
            format_args!("connecting to the application at {target}: {error}"),
        )
    })?;
    Ok((reason, Tcp::within(app, leg::Begun::ByAgent, &enrolled.time_wait), announced))
}

/// A connection that the application has accepted, with the reason for which the client is let in.
pub(super) type Begun = Result<(Reason, Carried, Announced), Failure>;

/// Sees a connection to its end. Its beginning comes boxed, so that its room is not kept for as long.
pub(super) async fn serve(begun: Pin<Box<impl Future<Output = Begun>>>, record: Rc<Record>) {
    match begun.await {
        Ok((reason, carried, announced)) => {
            close(&record, reason, carried.await);
            drop(announced);
        }
        Err(failure) => record.ended(failure.reason, &*failure.detail),
    }
}

/// A socket with a port. Where none is free, some of those may become free that nobody uses any more.
async fn socket(enrolled: &Enrolled, from: IpAddr) -> io::Result<(Socket, SocketAddr)> {
    match dial::app_socket(&enrolled.netns, from) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            enrolled.time_wait.free().await;
            dial::app_socket(&enrolled.netns, from)
        }
        made => made,
    }
}

/// For as long as this lives, the application sees the client's address, not the agent's.
pub(super) struct Announced {
    enrolled: Rc<Enrolled>,
    agent: SocketAddr,
}

impl Announced {
    fn new(enrolled: &Rc<Enrolled>, agent: SocketAddr, client: SocketAddr) -> Result<Self, Failure> {
        let Enrolled { context, netns, announcements, .. } = &**enrolled;
        announcements.begin(&*context.kernel, netns.cookie(), agent, client).map_err(|error| {
            Failure::new(Reason::OutOfResources, format_args!("announcing the client to the kernel: {error}"))
        })?;
        Ok(Self { enrolled: Rc::clone(enrolled), agent })
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let Enrolled { context, netns, announcements, .. } = &*self.enrolled;
        announcements.end(&*context.kernel, netns.cookie(), self.agent);
    }
}

/// What is announced of a pod's clients.
///
/// The kernel gives the port of a socket that was reset to another one (`tcp_set_state`, net/ipv4/tcp.c) before the agent
/// has heard of the reset. The later announcement then stands for both, until as many have ended as were made.
#[derive(Default)]
pub(super) struct Announcements {
    /// Addresses of sockets whose place another one has taken, each as often as that happened.
    overtaken: RefCell<Vec<SocketAddr>>,
}

impl Announcements {
    fn begin(
        &self,
        kernel: &dyn Kernel,
        netns: u64,
        agent: SocketAddr,
        client: SocketAddr,
    ) -> io::Result<()> {
        if kernel.announce_client(netns, agent, client)? {
            self.overtaken.borrow_mut().push(agent);
        }
        Ok(())
    }

    fn end(&self, kernel: &dyn Kernel, netns: u64, agent: SocketAddr) {
        let mut overtaken = self.overtaken.borrow_mut();
        match overtaken.iter().position(|other| *other == agent) {
            Some(index) => drop(overtaken.swap_remove(index)),
            None => kernel.withdraw_client(netns, agent),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::Ipv4Addr};

    use tokio::net::{TcpListener, TcpStream};

    use super::{
        super::{
            stock::Stock,
            tests::fixture::{abort, soon},
        },
        *,
    };
    use crate::netns::Netns;

    #[derive(Default)]
    struct Clients(RefCell<HashMap<SocketAddr, SocketAddr>>);

    impl Kernel for Clients {
        fn take_origin(&self, _netns: u64, _source: SocketAddr) -> Option<SocketAddr> {
            None
        }

        fn announce_client(&self, _netns: u64, agent: SocketAddr, client: SocketAddr) -> io::Result<bool> {
            Ok(self.0.borrow_mut().insert(agent, client).is_some())
        }

        fn withdraw_client(&self, _netns: u64, agent: SocketAddr) {
            assert!(self.0.borrow_mut().remove(&agent).is_some());
        }
    }

    fn client(last: u8) -> SocketAddr {
        (Ipv4Addr::new(10, 0, 0, last), 1234).into()
    }

    /// A socket of the agent whose port another one has got, as the application had broken its connection off.
    async fn overtaken() -> (TcpStream, SocketAddr, TcpListener) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        let stock = Stock::new(Netns::current().unwrap());
        let (socket, agent) = dial::app_socket(&stock, target.ip()).unwrap();
        let stream = dial::connect(socket, target).await.unwrap();
        abort(soon(listener.accept()).await.unwrap().0);
        soon(stream.readable()).await.unwrap();
        let other = TcpListener::bind(agent).await.unwrap();
        (stream, agent, other)
    }

    #[tokio::test]
    async fn a_client_is_announced_until_the_last_with_its_socket_has_ended() {
        let (_stream, agent, _other) = overtaken().await;
        let (kernel, announcements) = (Clients::default(), Announcements::default());
        for last in 1..=3 {
            announcements.begin(&kernel, 0, agent, client(last)).unwrap();
        }
        for _ in 1..=2 {
            announcements.end(&kernel, 0, agent);
            assert_eq!(kernel.0.borrow().get(&agent), Some(&client(3)));
        }
        announcements.end(&kernel, 0, agent);
        assert!(kernel.0.borrow().is_empty());
    }
}
