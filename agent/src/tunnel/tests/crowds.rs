//! Many streams that begin, speak and end at random, all on one tunnel.

use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::fixture::{Mesh, abort, many_files, ping, soon};

/// What both applications of a connection do, as its number has it.
#[derive(Clone, Copy)]
struct Plan {
    number: u32,
    up: usize,
    down: usize,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Regular,
    ClientAborts,
    ServerAborts,
}

impl Plan {
    fn new(number: u32) -> Self {
        let random = number.wrapping_mul(2_654_435_761) ^ (number << 7);
        let length = |bits: u32| (random.rotate_left(bits) % MOST) as usize;
        let end = match random % 7 {
            0 => End::ClientAborts,
            1 => End::ServerAborts,
            _ => End::Regular,
        };
        Self { number, up: length(3), down: length(17), end }
    }

    /// A sequence that tells a byte of this connection from those of the others.
    fn bytes(self, length: usize) -> Vec<u8> {
        (self.number..).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).take(length).collect()
    }
}

const MOST: u32 = 150_000;

async fn client(mut stream: TcpStream, plan: Plan) {
    soon(stream.write_all(&plan.number.to_le_bytes())).await.unwrap();
    if plan.end == End::ClientAborts {
        // As much as is taken before the server has read what it reads.
        let _ = stream.try_write(&plan.bytes(plan.up));
        return abort(stream);
    }
    let (mut read, mut write) = stream.split();
    let (words, mut heard) = (plan.bytes(plan.up), Vec::new());
    let say = async {
        write.write_all(&words).await?;
        write.shutdown().await
    };
    let (said, read) = soon(async { tokio::join!(say, read.read_to_end(&mut heard)) }).await;
    if plan.end == End::Regular {
        said.unwrap();
        read.unwrap();
        assert!(heard == plan.bytes(plan.down), "what connection {} heard", plan.number);
    }
}

async fn server(mut stream: TcpStream) {
    let mut number = [0; 4];
    let Ok(_) = soon(stream.read_exact(&mut number)).await else { return };
    let plan = Plan::new(u32::from_le_bytes(number));
    let mut heard = vec![0; if plan.end == End::Regular { plan.up } else { plan.up / 2 }];
    let read = soon(stream.read_exact(&mut heard)).await;
    match plan.end {
        End::ServerAborts => abort(stream),
        End::ClientAborts => {}
        End::Regular => {
            read.unwrap();
            assert!(heard == plan.bytes(plan.up), "what connection {} said", plan.number);
            soon(stream.write_all(&plan.bytes(plan.down))).await.unwrap();
        }
    }
}

/// A server that fails, its client hears too little from.
async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(server(stream));
    }
}

#[tokio::test]
async fn thousands_of_streams_that_come_and_go_at_random_mix_up_nothing() {
    const AT_ONCE: u32 = 50;
    const ROUNDS: u32 = 40;
    many_files();
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    tokio::spawn(serve(listener));
    let all = (0..AT_ONCE).map(|lane| {
        let mesh = &mesh;
        async move {
            for round in 0..ROUNDS {
                client(mesh.connect(address).await, Plan::new(lane * ROUNDS + round)).await;
            }
        }
    });
    join_all(all).await;
    let (mut client, mut server) = mesh.pair().await;
    ping(&mut client, &mut server).await;
}
