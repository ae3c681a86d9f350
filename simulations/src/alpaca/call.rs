//! What every member shares: transactions, parameters with the rules of their names, errors (ASCOM Alpaca API reference,
//! chapters 2 and 3). Names are compared exactly in a PUT, and without case in a GET.

use super::http::{Answer, Request};
use serde_json::{Value, json};

/// Why a member has no value.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// An ASCOM error number and its message; HTTP says 200.
    Ascom(i32, String),
    /// The request itself is wrong: HTTP 400.
    Request(String),
    /// There is no such member: HTTP 404.
    Unknown,
}

impl Fault {
    pub fn ascom(number: i32, message: impl Into<String>) -> Self {
        Fault::Ascom(number, message.into())
    }
}

pub fn not_implemented(member: &str) -> Fault {
    Fault::ascom(0x400, format!("{member} is not implemented"))
}

pub fn invalid_value(what: impl std::fmt::Display) -> Fault {
    Fault::ascom(0x401, format!("{what} is not a valid value"))
}

/// One call with its numbers.
#[derive(Debug, Clone)]
pub struct Call {
    pub put: bool,
    pub client: u32,
    pub server: u32,
    /// The client takes ImageBytes.
    pub image_bytes: bool,
    parameters: Vec<(String, String)>,
}

impl Call {
    pub fn read(request: &Request, server: u32) -> Result<Self, String> {
        let mut call = Self {
            put: request.method == "PUT",
            client: 0,
            server,
            image_bytes: request.accept.to_ascii_lowercase().contains("application/imagebytes"),
            parameters: request.parameters.clone(),
        };
        let id = |name: &str| match call.find(name) {
            None => Ok(0),
            Some(text) => text.parse::<u32>().map_err(|_| format!("{name} is {text:?}")),
        };
        id("ClientID")?;
        call.client = id("ClientTransactionID")?;
        Ok(call)
    }

    fn find(&self, name: &str) -> Option<&str> {
        let same = |found: &str| found == name || (!self.put && found.eq_ignore_ascii_case(name));
        self.parameters
            .iter()
            .find(|(found, _)| same(found))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self, name: &str) -> Result<&str, Fault> {
        self.find(name)
            .ok_or_else(|| Fault::Request(format!("there is no parameter {name}")))
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, Fault> {
        let text = self.text(name)?;
        text.trim()
            .parse()
            .map_err(|_| Fault::Request(format!("{name} is {text:?}, not {what}")))
    }

    pub fn number(&self, name: &str) -> Result<f64, Fault> {
        let number: f64 = self.parsed(name, "a number")?;
        if number.is_finite() {
            Ok(number)
        } else {
            Err(Fault::Request(format!("{name} is not finite")))
        }
    }

    pub fn whole(&self, name: &str) -> Result<i32, Fault> {
        self.parsed(name, "a whole number")
    }

    pub fn truth(&self, name: &str) -> Result<bool, Fault> {
        let text = self.text(name)?;
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Fault::Request(format!("{name} is {text:?}, neither true nor false"))),
        }
    }

    /// The JSON around a value or a fault.
    pub fn answer(&self, outcome: Result<Value, Fault>) -> Answer {
        let (number, message, value) = match outcome {
            Ok(value) => (0, String::new(), value),
            Err(Fault::Ascom(number, message)) => (number, message, Value::Null),
            Err(Fault::Request(cause)) => return Answer::text(400, cause),
            Err(Fault::Unknown) => return Answer::text(404, "no such member"),
        };
        let mut body = json!({
            "ClientTransactionID": self.client,
            "ServerTransactionID": self.server,
            "ErrorNumber": number,
            "ErrorMessage": message,
        });
        if !value.is_null() {
            body["Value"] = value;
        }
        Answer {
            status: 200,
            media: "application/json",
            body: body.to_string().into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, parameters: &[(&str, &str)]) -> Result<Call, String> {
        let parameters = parameters.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let request = Request {
            method: method.into(),
            parameters,
            ..Request::default()
        };
        Call::read(&request, 1)
    }

    #[test]
    fn names_have_their_case_in_a_put_and_not_in_a_get() {
        let get = call("GET", &[("clienttransactionid", "7"), ("SENSORNAME", "x")]).unwrap();
        assert_eq!((get.client, get.text("SensorName")), (7, Ok("x")));
        let put = call("PUT", &[("clienttransactionid", "7"), ("position", "1")]).unwrap();
        assert_eq!(put.client, 0);
        assert!(matches!(put.whole("Position"), Err(Fault::Request(_))));
    }

    #[test]
    fn numbers_of_clients_are_numbers() {
        for wrong in ["", " ", "-1", "abc", "1.5", "4294967296"] {
            assert!(call("GET", &[("ClientID", wrong)]).is_err(), "{wrong}");
            assert!(call("PUT", &[("ClientTransactionID", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fault_is_told_with_its_number_and_without_a_value() {
        let get = call("GET", &[("ClientTransactionID", "9")]).unwrap();
        let answer = get.answer(Err(not_implemented("gain")));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            body,
            json!({ "ClientTransactionID": 9, "ServerTransactionID": 1, "ErrorNumber": 1024, "ErrorMessage": "gain is not implemented" })
        );
        assert_eq!(get.answer(Err(Fault::Unknown)).status, 404);
    }
}
