package policy

// codeInfo says what a Diagnostic's code means.
type codeInfo struct {
	Code     string
	Severity Severity // the usual one
	Means    string
}

// codes are all codes of diagnostics. Each has a fixture in testdata that shows it.
var codes = []codeInfo{
	// The file.
	{"file-too-large", Error, "the file is larger than 1 MiB"},
	{"line-too-long", Error, "a line is longer than 16 KiB"},
	{"not-utf8", Error, "the file is not UTF-8"},
	{"empty-file", Error, "there is nothing in the file"},
	{"many-documents", Error, "the file has more than one YAML document"},
	{"too-deep", Error, "mappings and lists are nested deeper than any policy is"},
	{"too-many-problems", Error, "more problems than are reported of one file"},

	// YAML.
	{"yaml-syntax", Error, "the text is not YAML"},
	{"yaml-quote", Error, "a value goes on after its closing quote, or a quote is not closed"},
	{"yaml-colon", Error, "an unquoted value has a colon and a blank in it"},
	{"yaml-character", Error, "an unquoted value begins with a character that YAML keeps for itself"},
	{"yaml-tab", Error, "a tab in the indentation"},
	{"tag", Error, "a YAML tag, such as the !idempotent of an unquoted expression"},
	{"anchor", Error, "a YAML anchor"},
	{"alias", Error, "a YAML alias"},
	{"duplicate-key", Error, "a key is given twice in one mapping"},

	// Fields and values.
	{"unknown-field", Error, "there is no such field"},
	{"missing-field", Error, "a required field is not there"},
	{"empty-value", Error, "a field has no value"},
	{"wrong-type", Error, "a value has another type than its field"},
	{"unknown-value", Error, "a value is none of those that its field can have"},
	{"out-of-range", Error, "a number or duration is too small or too large"},
	{"conflict", Error, "two fields exclude each other"},
	{"misplaced-field", Error, "a field has no meaning beside the others"},
	{"no-effect", Warning, "a field says nothing without another one, or beside one that takes it back"},
	{"bad-name", Error, "a name has characters that it must not have"},
	{"reserved-name", Error, "a name is built in"},
	{"duplicate-name", Error, "a name is given twice in one list"},
	{"bad-duration", Error, "a duration cannot be read"},
	{"bad-rate", Error, "a rate cannot be read"},
	{"bad-quota", Error, "a quota cannot be read, or is in bytes where requests are counted"},
	{"bad-size", Error, "a size cannot be read"},
	{"bad-time", Error, "a time of day cannot be read"},
	{"unknown-zone", Error, "there is no such time zone"},
	{"bad-regexp", Error, "a regular expression does not compile"},
	{"bad-glob", Error, "a glob cannot be read"},
	{"bad-host", Error, "a host is no host name"},
	{"bad-path", Error, "a JSON or XML path cannot be read"},
	{"unsupported-version", Error, "the file is written for another version of the format"},
	{"reserved-label", Error, "a rule fails with a label that is the engine's own"},
	{"label-typo", Warning, "a label of the policy's own looks like a misspelt built-in one"},

	// The policy as a whole.
	{"duplicate-provider", Error, "two files have the same provider"},
	{"unknown-parent", Error, "extends names a policy that there is not"},
	{"extends-cycle", Error, "policies extend each other in a circle"},
	{"unknown-remove", Error, "remove names something that is not inherited"},
	{"ambiguous-remove", Warning, "remove drops things of one name from several sections"},
	{"missing-default", Error, "there is no default"},
	{"unknown-backoff", Error, "there is no such backoff"},
	{"unknown-limit", Error, "there is no such limit"},
	{"unknown-cost", Error, "there is no such cost table"},
	{"unknown-operation", Warning, "an operation that no request is named, much like one that is"},
	{"unbounded-retry", Error, "a backoff has neither attempts nor elapsed"},
	{"max-below-initial", Error, "a backoff's max is below its initial delay"},
	{"min-above-max", Error, "a backoff's min is above its max"},
	{"cost-above-burst", Error, "an operation costs more than a limit ever lets through at once"},
	{"burst-above-quota", Error, "a burst leaves nothing of the quota to refill with"},
	{"ambiguous-match", Error, "two policies claim the same requests"},
	{"reauth-on-token", Error, "a failed token request would be answered by a token request"},
	{"names-nothing", Warning, "no request can be named by an entry of operations"},
	{"token-operation", Warning, "an operation looks like a request for tokens and does not say so"},
	{"send-retry", Warning, "a send is repeated without saying whether that is safe"},
	{"covers-less", Warning, "a rule replaces an inherited one of its name, and not for all that the other was for"},
	{"text-of-success", Warning, "a text pattern can find nothing in a success that is inspected"},
	{"body-of-success", Warning, "a rule looks for words in the body of a success, where anybody can write them"},
	{"unused-backoff", Warning, "no rule uses a backoff"},
	{"unused-cost", Warning, "no limit uses a cost table"},

	// Expressions.
	{"empty-when", Error, "a rule does not say when it applies"},
	{"constant-when", Error, "a rule's condition is true or false"},
	{"cut-when", Error, "a blank and '#' end an unquoted expression"},
	{"syntax", Error, "an expression does not parse"},
	{"unknown-fact", Error, "there is no such fact"},
	{"unknown-function", Error, "there is no such function"},
	{"impure-function", Error, "a function's answer depends on more than the event"},
	{"unsafe-function", Error, "a function's result can be far larger than its input"},
	{"bad-type", Error, "an operator or function does not take a value of that type"},
	{"not-boolean", Error, "an expression is neither true nor false"},
	{"bad-constant", Error, "a constant part of an expression cannot be computed"},
	{"too-large", Error, "an expression is too large"},
	{"too-costly", Error, "one evaluation of an expression may take too long or too much memory"},
	{"unsupported", Error, "an expression uses something that a rule cannot"},
	{"never-matches", Warning, "no event can satisfy a rule"},
	{"lexical-comparison", Warning, "a text is compared by order with a number in quotes, letter by letter"},
	{"shadowed", Warning, "an earlier rule always matches first"},
	{"constant", Warning, "a part of a condition is always true"},
	{"default-unreachable", Warning, "the rules leave nothing to the default"},
}
