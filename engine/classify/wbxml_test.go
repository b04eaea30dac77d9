package classify_test

import (
	"testing"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/rules"
)

const wbxml = "\x03\x01\x6a\x00"

func TestHTTPWBXML(t *testing.T) {
	for _, tt := range []struct{ name, body, want, status string }{
		{"Sync", wbxml + "\x45\x4e\x03111\x00\x01\x01", "<Sync><Status>111</Status></Sync>", "111"},
		{"Status of a collection", wbxml + "\x45\x5c\x4f\x4b\x030\x00\x01\x52\x035\x00\x01\x4e\x033\x00\x01\x01\x01\x01",
			"<Sync><Collections><Collection><SyncKey>0</SyncKey><CollectionId>5</CollectionId><Status>3</Status></Collection></Collections></Sync>", "3"},
		{"FolderSync, another page", wbxml + "\x00\x07\x56\x4c\x039\x00\x01\x01", "<FolderSync><Status>9</Status></FolderSync>", "9"},
		{"SendMail", wbxml + "\x00\x15\x45\x52\x03115\x00\x01\x01", "<SendMail><Status>115</Status></SendMail>", "115"},
		{"empty element", wbxml + "\x45\x14\x4e\x031\x00\x01\x01", "<Sync><MoreAvailable/><Status>1</Status></Sync>", "1"},
		{"unknown element, opaque data", wbxml + "\x45\x00\x02\x54\xc3\x03abc\x01\x00\x00\x4e\x031\x00\x01\x01", "<Sync><T2-14></T2-14><Status>1</Status></Sync>", "1"},
		{"text is escaped", wbxml + "\x45\x4b\x03a<b&c>\x00\x01\x01", "<Sync><SyncKey>a&lt;b&amp;c></SyncKey></Sync>", ""},
		{"cut in a string", wbxml + "\x45\x4e\x0311", "<Sync><Status>", ""},
		{"cut in opaque data", wbxml + "\x45\x4b\xc3\x7fab", "<Sync><SyncKey>", ""},
		{"cut after a switch of pages", wbxml + "\x45\x00", "<Sync>", ""},
		{"too many ends", wbxml + "\x45\x4e\x031\x00\x01\x01\x01\x01", "<Sync><Status>1</Status></Sync>", "1"},
		{"unknown token", wbxml + "\x45\x4e\x031\x00\x01\x84", "<Sync><Status>1</Status>", "1"},
		{"nothing", wbxml, "", ""},
		{"another header is binary", "\x03\x01\x6a\x01\x00\x45", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e rules.Event
			classify.HTTP(exchange, &classify.Response{Status: 200, Header: headers("Content-Type", "application/vnd.ms-sync.wbxml"), Body: []byte(tt.body)}, &e)
			if e.Body != tt.want || e.Type != tt.status {
				t.Errorf("given %q\ngot  %q status %q\nwant %q status %q", tt.body, e.Body, e.Type, tt.want, tt.status)
			}
		})
	}
}
