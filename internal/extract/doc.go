// Package extract is the section `extract` of a policy: where the facts of an error stand
// in a reply.
//
// An [Extractor] is one entry of that section. Its [Form] says what the entry's text means:
// a path into JSON, the name of a header, and so on. All that is to be known of a form
// stands here, in the file that its name begins: its field in a policy file, how the field
// is checked, and how a reply is read by it. Package policy reads policy files by [Forms],
// and package classify reads replies by the extractors of a [Section]. A new form is a new
// value in Forms.
package extract
