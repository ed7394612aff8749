//! The UK modulus check: whether an account number can belong to a sort code.
//!
//! Source: Pay.UK, "Validating account numbers: UK modulus checking". Digits are
//! named as there: u v w x y z of the sort code, a b c d e f g h of the number.
//! The weights come from the industry's files, see [`ModulusTable::parse`].

mod table;

pub use table::{ModulusTable, TableError, TableFile, TableProblem};

use crate::{AccountNumber, SortCode};
use table::{Method, Rule};

/// What the check says of a sort code and an account number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The number can belong to the sort code. It need not exist.
    Valid,
    /// The number cannot belong to the sort code: someone mistyped.
    Invalid,
    /// The industry gives no rule for the sort code: the number is presumed valid.
    NotInTable,
}

/// The digits u to h, six of the sort code and eight of the number.
type Digits = [u8; 14];

const A: usize = 6;
const B: usize = 7;
const C: usize = 8;
const G: usize = 12;
const H: usize = 13;

/// Instead of the table's weights under exception 2, where a is not 0 and g is not 9.
const EXCEPTION_2_WEIGHTS: [i16; 14] = [0, 0, 1, 2, 5, 3, 6, 4, 8, 7, 10, 9, 3, 1];
/// Instead of the table's weights under exception 2, where a is not 0 and g is 9.
const EXCEPTION_2_WEIGHTS_G_9: [i16; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 8, 7, 10, 9, 3, 1];
/// Instead of the customer's sort code under exception 8.
const EXCEPTION_8_SORT_CODE: [u8; 6] = [0, 9, 0, 1, 2, 6];
/// Instead of the customer's sort code under exception 9.
const EXCEPTION_9_SORT_CODE: [u8; 6] = [3, 0, 9, 6, 3, 4];
/// Added to the total under exception 1.
const EXCEPTION_1_ADDEND: i64 = 27;

impl ModulusTable {
    /// Checks a number in its standard form of eight digits.
    pub fn check(&self, sort_code: SortCode, number: AccountNumber) -> Checked {
        let rules = self.rules(sort_code);
        let mut digits = [0; 14];
        digits[..A].copy_from_slice(&sort_code.digits());
        digits[A..].copy_from_slice(&number.digits());

        let passes = |rule: &Rule| match rule.exception {
            5 => {
                let mut substituted = digits;
                if let Some(other) = self.substitute(sort_code) {
                    substituted[..A].copy_from_slice(&other.digits());
                }
                passes(rule, substituted)
            }
            _ => passes(rule, digits),
        };
        let valid = match rules {
            [] => return Checked::NotInTable,
            [only] => passes(only),
            // Pairs of which one is enough.
            [
                first @ Rule { exception: 2, .. },
                second @ Rule { exception: 9, .. },
                ..,
            ]
            | [
                first @ Rule { exception: 10, .. },
                second @ Rule { exception: 11, .. },
                ..,
            ]
            | [
                first @ Rule { exception: 12, .. },
                second @ Rule { exception: 13, .. },
                ..,
            ] => passes(first) || passes(second),
            all => all.iter().all(passes),
        };
        if valid {
            Checked::Valid
        } else {
            Checked::Invalid
        }
    }
}

/// One check of one line of the table.
fn passes(rule: &Rule, mut digits: Digits) -> bool {
    let mut weights = rule.weights;
    match rule.exception {
        2 if digits[A] != 0 => {
            weights = if digits[G] == 9 {
                EXCEPTION_2_WEIGHTS_G_9
            } else {
                EXCEPTION_2_WEIGHTS
            };
        }
        3 if matches!(digits[C], 6 | 9) => return true,
        // A foreign currency account, which has no check digit.
        6 if matches!(digits[A], 4..=8) && digits[G] == digits[H] => return true,
        7 if digits[G] == 9 => weights[..=B].fill(0),
        8 => digits[..A].copy_from_slice(&EXCEPTION_8_SORT_CODE),
        9 => digits[..A].copy_from_slice(&EXCEPTION_9_SORT_CODE),
        10 if matches!(digits[A], 0 | 9) && digits[B] == 9 && digits[G] == 9 => {
            weights[..=B].fill(0);
        }
        _ => {}
    }
    let total = total(rule.method, &weights, &digits);
    let modulus = rule.method.modulus();
    let remainder = total.rem_euclid(modulus);
    match rule.exception {
        1 => (total + EXCEPTION_1_ADDEND).rem_euclid(modulus) == 0,
        4 => remainder == i64::from(digits[G]) * 10 + i64::from(digits[H]),
        5 => match rule.method {
            // The first check compares g, the second h. A remainder of 1 has no
            // check digit modulo 11: 11 - 1 is no single digit.
            Method::Mod11 => (modulus - remainder) % modulus == i64::from(digits[G]),
            Method::Mod10 | Method::DoubleAlternate => {
                (modulus - remainder) % modulus == i64::from(digits[H])
            }
        },
        14 if remainder != 0 => {
            // A number of Coutts with its last digit left off: shifted right, and tried again.
            matches!(digits[H], 0 | 1 | 9) && {
                digits.copy_within(A..H, B);
                digits[A] = 0;
                self::total(rule.method, &weights, &digits).rem_euclid(modulus) == 0
            }
        }
        _ => remainder == 0,
    }
}

fn total(method: Method, weights: &[i16; 14], digits: &Digits) -> i64 {
    let products = weights
        .iter()
        .zip(digits)
        .map(|(w, d)| i64::from(*w) * i64::from(*d));
    match method {
        Method::Mod10 | Method::Mod11 => products.sum(),
        Method::DoubleAlternate => products.map(digit_sum).sum(),
    }
}

fn digit_sum(mut product: i64) -> i64 {
    let mut sum = 0;
    while product != 0 {
        sum += product % 10;
        product /= 10;
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEIGHTS: &str = include_str!("../testdata/weights.txt");
    const SUBSTITUTIONS: &str = include_str!("../testdata/substitutions.txt");

    /// A table that was made for these tests: each exception under sort code 99-00-<exception>,
    /// with weights that one can reckon with in one's head.
    fn made() -> ModulusTable {
        ModulusTable::parse(WEIGHTS, SUBSTITUTIONS).unwrap()
    }

    /// One case a line: sort code, account number, whether it is valid, and why.
    const CASES: &str = "
        100000 00000000 none  between the ranges
        990000 00000055 yes   modulus 10, g + h: 5 + 5
        990000 00000056 no
        990021 00000290 yes   two checks: modulus 10 of h, modulus 11 of f + g
        990021 00000291 no    the first fails
        990021 00000280 no    the second fails
        990020 00000077 yes   a negative weight, g - h: 7 - 7
        990020 00000029 no    2 - 9
        990100 00000029 yes   modulus 11, g + h: 2 + 9; the range's first sort code
        990199 00000029 yes   and its last
        990150 00000028 no
        990200 00000082 no    double alternate, 2g + h: 1 + 6 + 2
        990200 00000083 yes   1 + 6 + 3
        990001 00000003 yes   exception 1: 3 + 27
        990001 00000000 no    0 + 27
        990002 00000029 yes   exception 2, a is 0, the table's weights g + h: 2 + 9
        990002 00000028 yes   exception 9, u + h with 309634: 3 + 8
        990002 00000027 no    neither
        990002 10000024 yes   exception 2, a is not 0: 3z + 6a + 3g + h: 6 + 6 + 6 + 4
        990002 10000020 no    18
        990002 10000096 yes   exception 2, a is not 0, g is 9: 3g + h: 27 + 6
        990002 10000097 no    34
        990003 00000000 yes   exception 3 in the second check, which is d; the first is h
        990003 00010000 no    c is neither 6 nor 9
        990003 00710000 no
        990003 00610000 yes   c is 6
        990003 00910000 yes   c is 9
        990003 00610001 no    the first check still counts
        990004 00300003 yes   exception 4: the remainder of c + d is g h: 03
        990004 00910010 yes   10
        990004 00920000 yes   00
        990004 00300004 no
        990050 00000384 yes   exception 5: f is 3, 11 - 3 is g, 10 - (2f) is h
        990050 00000383 no    h is wrong
        990050 00000374 no    g is wrong
        990050 00000000 yes   both remainders 0
        990050 00000108 no    remainder 1 has no check digit
        990051 00000084 yes   exception 5 with its substitute 990003: z is 3
        990051 00000008 no    and not with itself
        990006 30000000 yes   exception 6, a domestic account: h is 0
        990006 40000011 yes   a foreign currency account: a is 4 to 8, g is h
        990006 80000077 yes
        990006 30000011 no    a is 3
        990006 90000011 no    a is 9
        990006 40000012 no    g is not h
        990007 50000042 yes   exception 7, a + g + h: 5 + 4 + 2
        990007 50000092 yes   g is 9, without a: 9 + 2
        990007 50000093 no
        990008 00000008 yes   exception 8, y + h with 090126: 2 + 8
        990008 00000000 no
        990010 00000029 yes   exception 10, b + g + h: 2 + 9
        990010 00000020 yes   exception 11: h is 0
        990010 00000021 no    neither
        990010 09000092 yes   exception 10, a b is 09 and g is 9, without b: 9 + 2
        990010 99000092 yes   a b is 99
        990010 89000092 no    a b is 89
        990010 09000082 no    g is 8
        990012 00000029 yes   exception 12, modulus 11: 2 + 9
        990012 00000055 yes   exception 13, modulus 10: 5 + 5
        990012 00000057 no    neither
        990014 00000029 yes   exception 14, g + h: 2 + 9
        990014 00000290 yes   shifted right, h was 0
        990014 00000291 yes   1
        990014 00000299 yes   9
        990014 00000295 no    h is none of 0, 1, 9
        990014 00000280 no    shifted right: 2 + 8
    ";

    #[test]
    fn each_rule_is_as_the_specification_has_it() {
        let table = made();
        let mut wrong = Vec::new();
        let mut count = 0;
        for case in CASES.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<_> = case.split_ascii_whitespace().collect();
            let expected = match words[2] {
                "yes" => Checked::Valid,
                "no" => Checked::Invalid,
                "none" => Checked::NotInTable,
                other => panic!("{other} in {case}"),
            };
            let sort_code = SortCode::parse(words[0]).unwrap();
            let number = AccountNumber::parse(words[1]).unwrap();
            count += 1;
            if table.check(sort_code, number) != expected {
                wrong.push(case.trim());
            }
        }
        assert!(count > 60 && wrong.is_empty(), "{wrong:#?}");
    }

    proptest! {
        #[test]
        fn any_number_gets_an_answer(sort_code in 0_u32..1_000_000, number in 0_u32..100_000_000) {
            let (sort_code, number) = (SortCode::from_number(sort_code).unwrap(), AccountNumber::from_number(number).unwrap());
            let table = made();
            let checked = table.check(sort_code, number);
            prop_assert_eq!(checked == Checked::NotInTable, table.rules(sort_code).is_empty());
        }
    }
}
