//! The journal of a Czech bank, as the PKDD'99 Discovery Challenge published it
//! (the "Berka" data set): the form of a line, and what it means in a ledger.
//!
//! Pure: bytes in, transactions or reasons out. Fields are separated by `;`,
//! text stands in quotes, dates are YYMMDD (all of them 19YY), amounts are Czech
//! koruna with at most two decimals.

use jiff::civil::Date;

/// The currency of the whole data set.
pub const CURRENCY: &str = "CZK";

const COLUMNS: [&str; 10] = [
    "trans_id",
    "account_id",
    "date",
    "type",
    "operation",
    "amount",
    "balance",
    "k_symbol",
    "bank",
    "account",
];

/// Which way the money went, from the customer's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// PRIJEM: in.
    In,
    /// VYDAJ, or VYBER (in cash): out.
    Out,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// VKLAD: cash paid in.
    CashPaidIn,
    /// VYBER: cash taken out.
    CashWithdrawal,
    /// VYBER KARTOU: cash by card.
    CardWithdrawal,
    /// PREVOD Z UCTU: from another bank.
    TransferIn,
    /// PREVOD NA UCET: to another bank.
    TransferOut,
    /// Empty: done by the bank itself.
    ByTheBank,
}

/// What it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// UROK: interest.
    Interest,
    /// SANKC. UROK: penalty interest.
    PenaltyInterest,
    /// SLUZBY: statement fee.
    StatementFee,
    /// SIPO: household.
    Household,
    /// DUCHOD: pension.
    Pension,
    /// POJISTNE: insurance.
    Insurance,
    /// UVER: loan.
    Loan,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Where it stands in the file; the first line is 1.
    pub line: u64,
    /// Unique in the bank.
    pub trans_id: u64,
    /// The customer's account.
    pub account_id: u64,
    /// The day that it counts from.
    pub date: Date,
    /// In or out.
    pub direction: Direction,
    /// How.
    pub operation: Operation,
    /// In hellers, 0 or more.
    pub amount_minor: i64,
    /// Of the account after it, as the bank recorded it; in hellers.
    pub balance_minor: i64,
    /// What for, where the bank said so.
    pub purpose: Option<Purpose>,
    /// The other bank, two letters.
    pub bank: Option<String>,
    /// The account there.
    pub account: Option<u64>,
}

impl Transaction {
    /// What the customer's account gains; negative is a loss.
    pub fn signed_minor(&self) -> i64 {
        match self.direction {
            Direction::In => self.amount_minor,
            Direction::Out => -self.amount_minor,
        }
    }

    /// The customer's account in the ledger.
    pub fn customer_account(&self) -> String {
        format!("berka-{}", self.account_id)
    }

    /// The bank's own account on the other side, and its address there.
    pub fn counter_account(&self) -> (String, String) {
        // Interest and fees say "cash" as their operation; the purpose tells more.
        let name = match (self.purpose, self.operation) {
            (Some(Purpose::Interest), _) => "interest".to_owned(),
            (Some(Purpose::PenaltyInterest), _) => "penalty-interest".to_owned(),
            (Some(Purpose::StatementFee), _) => "fees".to_owned(),
            (_, Operation::CashPaidIn | Operation::CashWithdrawal | Operation::CardWithdrawal) => {
                "cash".to_owned()
            }
            (_, Operation::TransferIn | Operation::TransferOut) => match &self.bank {
                Some(bank) => format!("interbank:{bank}"),
                None => "interbank:unnamed".to_owned(),
            },
            (_, Operation::ByTheBank) => "sundry".to_owned(),
        };
        (format!("bank-{name}"), format!("bank/{name}"))
    }

    /// What a statement says, in the field's English.
    pub fn reference(&self) -> String {
        let what = match (self.purpose, self.operation) {
            (Some(Purpose::Interest), _) => return "Interest credited".to_owned(),
            (Some(Purpose::PenaltyInterest), _) => return "Penalty interest".to_owned(),
            (Some(Purpose::StatementFee), _) => return "Statement fee".to_owned(),
            (_, Operation::CashPaidIn) => "Cash deposit",
            (_, Operation::CashWithdrawal) => "Cash withdrawal",
            (_, Operation::CardWithdrawal) => "Cash withdrawal by card",
            (_, Operation::TransferIn) => "Transfer from",
            (_, Operation::TransferOut) => "Transfer to",
            (_, Operation::ByTheBank) => "Booked by the bank",
        };
        let mut text = what.to_owned();
        if matches!(
            self.operation,
            Operation::TransferIn | Operation::TransferOut
        ) {
            match &self.bank {
                Some(bank) => text.push_str(&format!(" bank {bank}")),
                None => text.push_str(" another bank"),
            }
            if let Some(account) = self.account {
                text.push_str(&format!(" account {account}"));
            }
        }
        match self.purpose {
            Some(Purpose::Household) => text.push_str(", household"),
            Some(Purpose::Pension) => text.push_str(", pension"),
            Some(Purpose::Insurance) => text.push_str(", insurance"),
            Some(Purpose::Loan) => text.push_str(", loan payment"),
            _ => {}
        }
        text
    }
}

/// A line that is not a transaction, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Where it stands in the file; the first line is 1.
    pub line: u64,
    /// What is wrong with it, naming the column and what was found there.
    pub reason: String,
}

/// What one line of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The column names, or nothing.
    Nothing,
    /// A transaction.
    Transaction(Transaction),
}

/// Reads one line (without its end) of the file.
///
/// # Errors
/// Says which column is wrong, and what was found there.
pub fn parse_line(number: u64, bytes: &[u8]) -> Result<Line, Broken> {
    let broken = |reason: String| Broken {
        line: number,
        reason,
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| broken("is not text (no UTF-8)".to_owned()))?
        .trim_end_matches('\r');
    if text.trim().is_empty() {
        return Ok(Line::Nothing);
    }
    let fields: Vec<&str> = text.split(';').map(unquoted).collect();
    if fields.len() != COLUMNS.len() {
        return Err(broken(format!(
            "has {} columns separated by `;`, and not {}",
            fields.len(),
            COLUMNS.len()
        )));
    }
    if number == 1 && fields.first() == COLUMNS.first() {
        return Ok(Line::Nothing);
    }
    transaction(number, &fields)
        .map(Line::Transaction)
        .map_err(broken)
}

/// The fields of a line whose number of columns is right.
fn transaction(line: u64, fields: &[&str]) -> Result<Transaction, String> {
    let [
        trans_id,
        account_id,
        date,
        kind,
        operation,
        amount,
        balance,
        symbol,
        bank,
        account,
    ] = fields
    else {
        return Err("has not ten columns".to_owned());
    };
    let direction = match *kind {
        "PRIJEM" => Direction::In,
        "VYDAJ" | "VYBER" => Direction::Out,
        other => return Err(unknown("type", other, "PRIJEM, VYDAJ or VYBER")),
    };
    let operation = match *operation {
        "VKLAD" => Operation::CashPaidIn,
        "VYBER" => Operation::CashWithdrawal,
        "VYBER KARTOU" => Operation::CardWithdrawal,
        "PREVOD Z UCTU" => Operation::TransferIn,
        "PREVOD NA UCET" => Operation::TransferOut,
        "" => Operation::ByTheBank,
        other => {
            return Err(unknown(
                "operation",
                other,
                "VKLAD, VYBER, VYBER KARTOU, PREVOD Z UCTU, PREVOD NA UCET or nothing",
            ));
        }
    };
    let purpose = match symbol.trim() {
        "" => None,
        "UROK" => Some(Purpose::Interest),
        "SANKC. UROK" => Some(Purpose::PenaltyInterest),
        "SLUZBY" => Some(Purpose::StatementFee),
        "SIPO" => Some(Purpose::Household),
        "DUCHOD" => Some(Purpose::Pension),
        "POJISTNE" => Some(Purpose::Insurance),
        "UVER" => Some(Purpose::Loan),
        other => {
            return Err(unknown(
                "k_symbol",
                other,
                "UROK, SANKC. UROK, SLUZBY, SIPO, DUCHOD, POJISTNE, UVER or nothing",
            ));
        }
    };
    let amount_minor = minor("amount", amount)?;
    if amount_minor < 0 {
        return Err(format!(
            "amount: `{amount}` is negative; the type says the direction"
        ));
    }
    Ok(Transaction {
        line,
        trans_id: whole("trans_id", trans_id)?,
        account_id: whole("account_id", account_id)?,
        date: day(date)?,
        direction,
        operation,
        amount_minor,
        balance_minor: minor("balance", balance)?,
        purpose,
        bank: bank_code(bank)?,
        account: match account.trim() {
            "" => None,
            digits => Some(whole("account", digits)?),
        },
    })
}

/// A field without the quotes around it.
fn unquoted(field: &str) -> &str {
    field
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(field)
}

fn unknown(column: &str, found: &str, expected: &str) -> String {
    format!("{column}: `{found}` is not {expected}")
}

fn whole(column: &str, text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{column}: `{text}` is not a whole number"));
    }
    text.parse()
        .map_err(|_| format!("{column}: `{text}` is too large"))
}

/// YYMMDD, in the twentieth century as all of the data set is.
fn day(text: &str) -> Result<Date, String> {
    let wrong = || format!("date: `{text}` is not a day written YYMMDD");
    let digits: Vec<i16> = text
        .bytes()
        .map(|byte| byte.is_ascii_digit().then(|| i16::from(byte - b'0')))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    let [y1, y2, m1, m2, d1, d2] = digits.as_slice() else {
        return Err(wrong());
    };
    let (month, day) = (m1 * 10 + m2, d1 * 10 + d2);
    // Two decimal digits each: they fit.
    Date::new(1900 + y1 * 10 + y2, month as i8, day as i8).map_err(|_| wrong())
}

/// Koruna with at most two decimals, as hellers.
fn minor(column: &str, text: &str) -> Result<i64, String> {
    let wrong = || format!("{column}: `{text}` is not an amount with at most two decimals");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (koruna, hellers) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if koruna.is_empty() || hellers.len() > 2 || !all_digits(koruna) || !all_digits(hellers) {
        return Err(wrong());
    }
    let hellers = format!("{hellers:0<2}");
    let minor = format!("{koruna}{hellers}")
        .parse::<i64>()
        .map_err(|_| format!("{column}: `{text}` is too large"))?;
    Ok(if negative { -minor } else { minor })
}

/// Two capital letters, or nothing.
fn bank_code(text: &str) -> Result<Option<String>, String> {
    match text.trim() {
        "" => Ok(None),
        code if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            Ok(Some(code.to_owned()))
        }
        other => Err(unknown("bank", other, "two capital letters or nothing")),
    }
}

#[cfg(test)]
#[path = "berka/tests.rs"]
mod tests;
