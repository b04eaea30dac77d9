package classify

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Exchange ActiveSync answers in WBXML, and reports nearly all of its errors as a
// Status element in a response of status 200. So a WBXML body is turned into the
// XML that it encodes, as far as errors need it: the elements around a Status get
// their names, others are named by T, their code page and their token in
// hexadecimal ("T2-14"), and opaque data, which holds people's mail, is left out.
//
// Code pages and tokens: MS-ASWBXML, section 2.1.2.1
// (https://learn.microsoft.com/openspecs/exchange_server_protocols/ms-aswbxml).

// wbxmlHeader says: WBXML 1.3, unknown public identifier, UTF-8, no string table.
// ActiveSync has no other header (MS-ASWBXML, section 2.1.2).
const wbxmlHeader = "\x03\x01\x6a\x00"

// Bounds of what is read.
const (
	maxTags      = 512     // elements that are open at once
	maxWBXMLText = 4 << 10 // bytes of one text; a longer one is likely to be somebody's mail
)

// wbxmlNames are the names of Status elements and of the elements around them, by
// code page and token.
var wbxmlNames = map[[2]byte]string{
	{0, 0x05}: "Sync", {0, 0x06}: "Responses", {0, 0x07}: "Add", {0, 0x08}: "Change", {0, 0x09}: "Delete", {0, 0x0A}: "Fetch",
	{0, 0x0B}: "SyncKey", {0, 0x0D}: "ServerId", {0, 0x0E}: "Status", {0, 0x0F}: "Collection", {0, 0x12}: "CollectionId",
	{0, 0x14}: "MoreAvailable", {0, 0x16}: "Commands", {0, 0x1C}: "Collections", {0, 0x24}: "Wait", {0, 0x25}: "Limit",
	{5, 0x05}: "MoveItems", {5, 0x0A}: "Response", {5, 0x0B}: "Status",
	{6, 0x05}: "GetItemEstimate", {6, 0x08}: "Collection", {6, 0x0D}: "Response", {6, 0x0E}: "Status",
	{7, 0x0C}: "Status", {7, 0x0E}: "Changes", {7, 0x12}: "SyncKey", {7, 0x13}: "FolderCreate", {7, 0x14}: "FolderDelete",
	{7, 0x15}: "FolderUpdate", {7, 0x16}: "FolderSync",
	{8, 0x07}: "MeetingResponse", {8, 0x0A}: "Result", {8, 0x0B}: "Status",
	{10, 0x05}: "ResolveRecipients", {10, 0x06}: "Response", {10, 0x07}: "Status",
	{11, 0x05}: "ValidateCert", {11, 0x07}: "Certificate", {11, 0x0A}: "Status",
	{13, 0x05}: "Ping", {13, 0x07}: "Status", {13, 0x08}: "HeartbeatInterval", {13, 0x09}: "Folders", {13, 0x0A}: "Folder", {13, 0x0D}: "MaxFolders",
	{14, 0x05}: "Provision", {14, 0x06}: "Policies", {14, 0x07}: "Policy", {14, 0x0B}: "Status",
	{15, 0x05}: "Search", {15, 0x07}: "Store", {15, 0x0C}: "Status", {15, 0x0D}: "Response", {15, 0x0E}: "Result",
	{18, 0x05}: "Settings", {18, 0x06}: "Status",
	{20, 0x05}: "ItemOperations", {20, 0x06}: "Fetch", {20, 0x0D}: "Status", {20, 0x0E}: "Response",
	{21, 0x05}: "SendMail", {21, 0x06}: "SmartForward", {21, 0x07}: "SmartReply", {21, 0x12}: "Status",
}

// decodeWBXML returns the XML that s encodes; s starts with wbxmlHeader. It stops at
// the first byte that it does not know, and after about MaxBody bytes of XML.
func decodeWBXML(s string) string {
	d := wbxmlDecoder{rest: s[len(wbxmlHeader):]}
	for d.rest != "" && d.xml.Len() < MaxBody && d.next() {
	}
	return d.xml.String()
}

// wbxmlDecoder turns WBXML into XML.
type wbxmlDecoder struct {
	rest string // what is still to be read
	page byte   // the current code page
	open []string
	xml  strings.Builder
}

// next reads one token, and returns false if it cannot.
func (d *wbxmlDecoder) next() bool {
	token := d.rest[0]
	d.rest = d.rest[1:]
	switch token {
	case 0x00: // SWITCH_PAGE
		if d.rest == "" {
			return false
		}
		d.page, d.rest = d.rest[0], d.rest[1:]
	case 0x01: // END
		last := len(d.open) - 1
		if last < 0 {
			return false
		}
		d.xml.WriteString("</" + d.open[last] + ">")
		d.open = d.open[:last]
	case 0x03: // STR_I
		text, rest, ended := strings.Cut(d.rest, "\x00")
		if !ended {
			return false
		}
		writeXMLText(&d.xml, text)
		d.rest = rest
	case 0xC3: // OPAQUE
		length, size := mbUint(d.rest)
		if size == 0 || length > len(d.rest)-size {
			return false
		}
		d.rest = d.rest[size+length:]
	default:
		return d.element(token)
	}
	return true
}

// element begins the element of a token, and returns false if it is not one.
func (d *wbxmlDecoder) element(token byte) bool {
	tag := token & 0x3F
	if tag < 0x05 || token >= 0x80 || len(d.open) >= maxTags {
		return false
	}
	name, known := wbxmlNames[[2]byte{d.page, tag}]
	if !known {
		name = "T" + strconv.Itoa(int(d.page)) + "-" + strconv.FormatUint(uint64(tag), 16)
	}
	d.xml.WriteString("<" + name)
	if token&0x40 != 0 { // it has content
		d.open = append(d.open, name)
	} else {
		d.xml.WriteByte('/')
	}
	d.xml.WriteByte('>')
	return true
}

// mbUint reads a multi-byte integer of WBXML and returns it with its length in
// bytes, which is 0 if s does not start with one.
func mbUint(s string) (n, size int) {
	for size < len(s) && size < 4 {
		c := s[size]
		size++
		n = n<<7 | int(c&0x7F)
		if c < 0x80 {
			return n, size
		}
	}
	return 0, 0
}

func writeXMLText(b *strings.Builder, s string) {
	if len(s) > maxWBXMLText || !utf8.ValidString(s) {
		return
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '<':
			b.WriteString("&lt;")
		case '&':
			b.WriteString("&amp;")
		default:
			b.WriteByte(c)
		}
	}
}
