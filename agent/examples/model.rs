//! scratch
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::allow_attributes_without_reason
)]
use culvert::cluster::*;
use std::time::Instant;
fn rss() -> f64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    let v = |k: &str| {
        s.lines()
            .find(|l| l.starts_with(k))
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap()
            / 1024.0
    };
    print!("[hwm {:.0}] ", v("VmHWM"));
    v("VmRSS")
}
fn ip(i: usize) -> String {
    format!("10.{}.{}.{}", 1 + i / 65536, i / 256 % 256, i % 256)
}
fn pod(i: usize, generation: usize) -> String {
    let d = i / 20;
    let noise = "x".repeat(60);
    let managed: String =
        (0..40).map(|k| format!(r#""f:field{k}":{{".":{{}},"f:name":"{noise}"}},"#)).collect();
    format!(
        r#"{{"metadata":{{"name":"app-{d}-5f7d8c9b6d-{i:06}","generateName":"app-{d}-5f7d8c9b6d-","namespace":"ns-{}","uid":"00000000-0000-4000-8000-{i:012}","resourceVersion":"{generation}","creationTimestamp":"2026-01-01T00:00:00Z","labels":{{"app":"app-{d}","pod-template-hash":"5f7d8c9b6d","version":"v1","app.kubernetes.io/name":"app-{d}","app.kubernetes.io/instance":"i-{d}"}},"annotations":{{"culvert.io/captured":"{}","kubectl.kubernetes.io/restartedAt":"2026-01-01"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"app-{d}-5f7d8c9b6d","uid":"u"}}],"managedFields":[{{"manager":"kubelet","fieldsV1":{{{managed}"f:end":{{}}}}}}]}},"spec":{{"nodeName":"node-{}","serviceAccountName":"app-{d}","containers":[{{"name":"c","image":"registry.example.com/app:v1","env":[{{"name":"A","value":"b"}}]}}]}},"status":{{"phase":"Running","hostIP":"192.0.2.1","podIP":"{}","podIPs":[{{"ip":"{}"}}],"conditions":[{{"type":"Ready","status":"True"}}]}}}}"#,
        d % 100,
        if generation % 2 == 0 { "true" } else { "false" },
        i % 2000,
        ip(i),
        ip(i)
    )
}
fn service(d: usize) -> String {
    format!(
        r#"{{"metadata":{{"name":"app-{d}","namespace":"ns-{}"}},"spec":{{"clusterIP":"10.200.{}.{}","ports":[{{"name":"http","port":80}}]}}}}"#,
        d % 100,
        d / 256,
        d % 256
    )
}
fn slice(d: usize) -> String {
    let e: Vec<_> = (d * 20..d * 20 + 20).map(|i| format!(r#"{{"addresses":["{}"],"conditions":{{"ready":true}},"targetRef":{{"kind":"Pod","name":"app-{d}-5f7d8c9b6d-{i:06}"}}}}"#, ip(i))).collect();
    format!(
        r#"{{"addressType":"IPv4","metadata":{{"name":"app-{d}-abcde","namespace":"ns-{}","labels":{{"kubernetes.io/service-name":"app-{d}"}}}},"endpoints":[{}],"ports":[{{"name":"http","port":8080}}]}}"#,
        d % 100,
        e.join(",")
    )
}
fn main() {
    let pods: usize = std::env::args().nth(1).map_or(100_000, |a| a.parse().unwrap());
    let settings = Settings::default();
    println!("start rss {:.1} MB; pod json {} bytes", rss(), pod(1, 0).len());
    let mut index = Index::new(settings.clone());
    let t = Instant::now();
    let mut objects = vec![];
    let mut decode = std::time::Duration::ZERO;
    for page in 0..pods / 500 {
        let page: Vec<String> = (page * 500..page * 500 + 500).map(|i| pod(i, 0)).collect();
        let t = Instant::now();
        objects.extend(page.iter().map(|p| decode_json(Kind::Pod, p.as_bytes(), &settings).unwrap()));
        decode += t.elapsed();
    }
    println!("decode {:.1} us/pod; rss {:.1}", decode.as_micros() as f64 / pods as f64, rss());
    let t2 = Instant::now();
    index.reset(Kind::Pod, objects);
    println!("reset {:.1} us/pod; rss {:.1}", t2.elapsed().as_micros() as f64 / pods as f64, rss());
    let services = pods / 20;
    index.reset(
        Kind::Service,
        (0..services)
            .map(|d| decode_json(Kind::Service, service(d).as_bytes(), &settings).unwrap())
            .collect(),
    );
    index.reset(
        Kind::EndpointSlice,
        (0..services)
            .map(|d| decode_json(Kind::EndpointSlice, slice(d).as_bytes(), &settings).unwrap())
            .collect(),
    );
    println!("services: rss {:.1}", rss());
    let mut table = PeerTable::default();
    let clients = [PodRef::new("ns-1", "x"), PodRef::new("ns-2", "x")];
    let t3 = Instant::now();
    let changes = table.update(&index, &clients);
    println!(
        "rebuild {:.1} ms, {} changes; rss {:.1}",
        t3.elapsed().as_secs_f64() * 1e3,
        changes.len(),
        rss()
    );
    drop(changes);
    println!("total {:.2} s", t.elapsed().as_secs_f64());
    for round in 1..=4 {
        let events: Vec<String> = (0..20_000).map(|k| pod((k * 7919) % pods, round)).collect();
        let t = Instant::now();
        let decoded: Vec<_> =
            events.iter().map(|e| decode_json(Kind::Pod, e.as_bytes(), &settings).unwrap()).collect();
        let d = t.elapsed();
        let t = Instant::now();
        let mut told = 0;
        for object in decoded {
            index.apply(object);
            told += table.update(&index, &clients).len();
        }
        println!(
            "event: decode {:.1} us, apply+update {:.2} us, told {told}; rss {:.1}",
            d.as_micros() as f64 / 20e3,
            t.elapsed().as_micros() as f64 / 20e3,
            rss()
        );
    }
    let same: Vec<_> = (0..20_000)
        .map(|k| decode_json(Kind::Pod, pod((k * 7919) % pods, 4).as_bytes(), &settings).unwrap())
        .collect();
    let t = Instant::now();
    let r = index.revision();
    for object in same {
        index.apply(object);
    }
    println!(
        "noise apply {:.2} us, revision moved {}",
        t.elapsed().as_micros() as f64 / 20e3,
        index.revision() - r
    );
}
