//! `hashes A B`: the hash of each random world from seed A on and below B, as `polytcp sim --random --hash` prints
//! them. Small enough to be built optimised in CI, where its output is compared with that of the debug build.

fn main() {
    let numbers: Vec<u64> =
        std::env::args().skip(1).map(|text| text.parse().expect("a seed is a number")).collect();
    let [first, end] = numbers[..] else { panic!("two seeds: the first one and the one after the last") };
    for (seed, hash) in polytcp_sim::batch::run_random(first..end, 2).1 {
        println!("{seed} {hash:016x}");
    }
}
