//! `nstat [-a] [-z] [-n] [-s] [-r] [PATTERN...]`: what the stack counted, since the last time or altogether.

use polytcp::Counters;

use super::Outcome;

/// Prints what `now` has beyond `before`, which becomes `now`.
pub(super) fn run(now: &Counters, before: &mut Counters, arguments: &[&str]) -> Outcome {
    let (options, patterns): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|word| word.starts_with('-'));
    if let Some(option) =
        options.iter().find(|option| !option.chars().skip(1).all(|flag| "azsnr".contains(flag)))
    {
        return Outcome::refused(
            1,
            format!("nstat: `{option}`: of the options, a stack knows -a, -z, -s, -n and -r"),
        );
    }
    let has = |flag: char| options.iter().any(|option| option.contains(flag));
    if has('r') {
        *before = Counters::default();
    }
    let mut out = String::new();
    if !has('n') {
        out += "#kernel\n";
        let fresh = Counters::default();
        let since = if has('a') { &fresh } else { &*before };
        for ((name, value), (_, earlier)) in now.iter().zip(since.iter()) {
            // A gauge may have gone down.
            let value = value.wrapping_sub(earlier) as i64;
            let is_asked = patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name));
            if is_asked && (value != 0 || has('z')) {
                out += &format!("{name:<32}{value:<16}   0.0\n");
            }
        }
    }
    if !has('s') {
        *before = now.clone();
    }
    Outcome::told(out)
}

/// As a shell would: `*` stands for anything, `?` for one letter.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (Some('*'), _) => name
            .char_indices()
            .map(|(at, _)| at)
            .chain([name.len()])
            .any(|at| matches(&pattern[1..], &name[at..])),
        (Some(asked), Some(letter)) if asked == '?' || asked == letter => {
            matches(&pattern[asked.len_utf8()..], &name[letter.len_utf8()..])
        }
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(now: &Counters, before: &mut Counters, arguments: &[&str]) -> String {
        match run(now, before, arguments) {
            Outcome::Done { code: 0, out, .. } => out,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_counted_since_the_last_time_is_printed() {
        let mut before = Counters::default();
        let mut now = Counters { mp_join_syn_rx: 3, ..Counters::default() };
        assert_eq!(
            told(&now, &mut before, &["-s"]),
            "#kernel\nMPTcpExtMPJoinSynRx             3                  0.0\n"
        );
        assert_eq!(told(&now, &mut before, &["-n"]), "");
        assert_eq!(told(&now, &mut before, &[]), "#kernel\n");
        now.mp_join_syn_rx = 5;
        now.in_csum_errors = 1;
        assert!(
            told(&now, &mut before, &["-s", "MPTcpExt*Rx"])
                .ends_with("MPTcpExtMPJoinSynRx             2                  0.0\n")
        );
        assert!(
            told(&now, &mut before, &["-as", "TcpInCsumErr?rs"])
                .contains("\nTcpInCsumErrors                 1 ")
        );
        assert_eq!(told(&now, &mut before, &["-az"]).lines().count(), now.iter().count() + 1);
        assert!(matches!(run(&now, &mut before, &["--json"]), Outcome::Done { code: 1, .. }));
    }

    #[test]
    fn patterns_are_the_shells() {
        for (pattern, name, matched) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(matches(pattern, name), matched, "{pattern} {name}");
        }
    }
}
