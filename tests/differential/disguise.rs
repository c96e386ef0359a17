//! Reserved names in letters that pass for those of ASCII, and what somebody careless takes them for. The engine folds by the
//! tables of Unicode; nothing here does.

use std::sync::LazyLock;

use fastrand::Rng;

const RESERVED: [&str; 5] = [
    "kubeadm:cluster-admins",
    "system:admin",
    "system:kube-controller-manager",
    "system:node:x",
    "system:serviceaccount:a:b",
];

/// Where twenty-six letters begin: fullwidth, circled, and in mathematical bold, sans-serif and monospace.
const ALPHABETS: [char; 10] = [
    '\u{ff41}',
    '\u{ff21}',
    '\u{24d0}',
    '\u{24b6}',
    '\u{1d41a}',
    '\u{1d400}',
    '\u{1d5ba}',
    '\u{1d5a0}',
    '\u{1d68a}',
    '\u{1d670}',
];

const COLONS: [char; 3] = ['\u{ff1a}', '\u{fe55}', '\u{fe13}'];

/// What may stand around a name.
const MARGINS: [&str; 8] = [" ", "  ", "\t", "\u{a0}", "\u{2003}", "\0", "\u{200b}", "\u{feff}"];

/// Every way to write `name`, of which some change nothing.
fn disguises(name: &str) -> Vec<String> {
    let write = |c: char, first: char| match c {
        'a'..='z' => char::from_u32(u32::from(first) + u32::from(c) - u32::from('a')).unwrap(),
        c => c,
    };
    let upper = name.to_uppercase();
    let mut ways = vec![
        name[..1].to_uppercase() + &name[1..],
        name.replace('s', "\u{17f}"),
        name.replace("st", "\u{fb05}"),
        name.replace("st", "\u{fb06}"),
        name.replace('k', "\u{212a}"),
        upper,
    ];
    ways.extend(ALPHABETS.map(|first| name.chars().map(|c| write(c, first)).collect::<String>()));
    ways.extend(ALPHABETS.map(|first| format!("{}{}", write(name.chars().next().unwrap(), first), &name[1..])));
    ways.extend(COLONS.map(|colon| name.replacen(':', &colon.to_string(), 1)));
    ways
}

fn is_spelled_out(name: &str) -> bool {
    name.starts_with("system:") || name.starts_with("kubeadm:")
}

/// Reserved names of which none spells its prefix out.
pub static DISGUISED: LazyLock<Vec<String>> = LazyLock::new(|| {
    // A mark goes together with nothing before it.
    let marked = RESERVED.map(|name| name.to_uppercase().replacen(':', ":\u{301}", 1));
    RESERVED.iter().flat_map(|name| disguises(name)).filter(|name| !is_spelled_out(name)).chain(marked).collect()
});

/// `name` in some disguise.
pub fn disguised(name: &str, rng: &mut Rng) -> String {
    rng.choice(disguises(name)).unwrap()
}

/// One of [`DISGUISED`], sometimes with something around it.
pub fn reserved(rng: &mut Rng) -> String {
    let name = rng.choice(DISGUISED.iter()).unwrap();
    let mut margin = || if rng.u8(..6) == 0 { *rng.choice(&MARGINS).unwrap() } else { "" };
    format!("{}{name}{}", margin(), margin())
}

/// As a careless reader takes it: without margins, in lower case, and any letter for the one that it looks like.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        let letter = ALPHABETS.iter().find_map(|first| {
            let index = u32::from(c).checked_sub(u32::from(*first)).filter(|index| *index < 26)?;
            char::from_u32(u32::from('a') + index)
        });
        match (letter, c) {
            (Some(letter), _) => plain.push(letter),
            (_, '\u{17f}') => plain.push('s'),
            (_, '\u{fb05}' | '\u{fb06}') => plain.push_str("st"),
            (_, '\u{212a}') => plain.push('k'),
            (_, c) if COLONS.contains(&c) => plain.push(':'),
            (_, c) => plain.extend(c.to_lowercase()),
        }
    }
    plain.trim().to_owned()
}

/// The prefix that makes `name` a reserved one for such a reader.
pub fn reserved_prefix(name: &str) -> Option<&'static str> {
    let name = plain(name);
    ["system:", "kubeadm:"].into_iter().find(|prefix| name.starts_with(prefix))
}

#[test]
fn a_careless_reader_sees_through_every_disguise() {
    assert!(DISGUISED.len() > 100, "{}", DISGUISED.len());
    for name in DISGUISED.iter() {
        assert!(reserved_prefix(name).is_some() && !is_spelled_out(name), "{name}");
    }
    for way in disguises("system:masters") {
        assert_eq!(plain(&way), "system:masters");
    }
    assert_eq!(reserved_prefix("oidc:system:admin"), None);
}
