// Command wire writes what the API's types are in protocol buffers, and proofs of it.
//
//	go run . table  ../../../crates/schema/data/wire-1.34.txt
//	go run . corpus ../../../crates/apiserver/tests/corpus/protobuf.jsonl
//
// Both come from the Go types themselves: their tags say numbers and names, their Go types say
// what is left out of JSON.
package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// The group versions that a server of 1.34 serves unless told otherwise.
var served = []string{
	"v1", "admissionregistration.k8s.io/v1", "apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1",
	"apps/v1", "authentication.k8s.io/v1", "authorization.k8s.io/v1", "autoscaling/v1",
	"autoscaling/v2", "batch/v1", "certificates.k8s.io/v1", "coordination.k8s.io/v1",
	"discovery.k8s.io/v1", "events.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1",
	"networking.k8s.io/v1", "node.k8s.io/v1", "policy/v1", "rbac.authorization.k8s.io/v1",
	"resource.k8s.io/v1", "scheduling.k8s.io/v1", "storage.k8s.io/v1",
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

type root struct {
	gvk schema.GroupVersionKind
	t   reflect.Type
}

func roots() []root {
	s := scheme.Scheme
	check(apiextensions.AddToScheme(s))
	check(apiregistration.AddToScheme(s))
	metav1.AddMetaToScheme(s)
	var out []root
	for _, text := range served {
		gv, err := schema.ParseGroupVersion(text)
		check(err)
		for kind, t := range s.KnownTypes(gv) {
			// Kinds of the protocol itself are the same in every group.
			if strings.HasPrefix(t.PkgPath(), "k8s.io/apimachinery/") && kind != "List" {
				continue
			}
			out = append(out, root{gv.WithKind(kind), t})
		}
	}
	meta := schema.GroupVersion{Group: "meta.k8s.io", Version: "v1"}
	for _, o := range []any{
		metav1.Status{}, metav1.DeleteOptions{}, metav1.CreateOptions{}, metav1.UpdateOptions{},
		metav1.PatchOptions{}, metav1.GetOptions{}, metav1.ListOptions{}, metav1.WatchEvent{},
		metav1.APIVersions{}, metav1.APIGroup{}, metav1.APIGroupList{}, metav1.APIResourceList{},
		metav1.PartialObjectMetadata{}, metav1.PartialObjectMetadataList{},
	} {
		t := reflect.TypeOf(o)
		out = append(out, root{meta.WithKind(t.Name()), t})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].gvk.String() < out[j].gvk.String() })
	return out
}

// The OpenAPI name of a Go type.
func name(t reflect.Type) string {
	host, rest, _ := strings.Cut(t.PkgPath(), "/")
	parts := strings.Split(host, ".")
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, ".") + "." + strings.ReplaceAll(rest, "/", ".") + "." + t.Name()
}

type table struct {
	index map[reflect.Type]int
	lines []string
}

// Types whose JSON is not their fields.
var special = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                     "t",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                "m",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":                 "d",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                 "j",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                 "q",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":               "o",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                  "j",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON": "j",
}

type marshaler interface{ Marshal() ([]byte, error) }

var marshals = reflect.TypeOf((*marshaler)(nil)).Elem()

func (x *table) code(t reflect.Type) string {
	if c, ok := special[t.PkgPath()+"."+t.Name()]; ok {
		return c
	}
	switch t.Kind() {
	case reflect.String:
		return "s"
	case reflect.Bool:
		return "b"
	case reflect.Int32, reflect.Uint32, reflect.Uint8:
		return "i"
	case reflect.Int64, reflect.Uint64:
		return "l"
	case reflect.Float64:
		return "f"
	case reflect.Struct:
		return fmt.Sprintf("%d", x.row(t))
	case reflect.Pointer:
		return "*" + x.code(t.Elem())
	case reflect.Map:
		return "{" + x.code(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "y"
		}
		if t.Name() != "" && (t.Implements(marshals) || reflect.PointerTo(t).Implements(marshals)) {
			// A list of words with a message of its own around it.
			return "w"
		}
		return "[" + x.code(t.Elem())
	}
	panic("no code for " + t.String())
}

func (x *table) row(t reflect.Type) int {
	if at, ok := x.index[t]; ok {
		return at
	}
	at := len(x.lines)
	x.index[t] = at
	x.lines = append(x.lines, "")
	fields := []string{name(t)}
	for i := 0; i < t.NumField(); i++ {
		f := t.Field(i)
		tag := f.Tag.Get("protobuf")
		if tag == "" {
			if f.Type.Name() != "TypeMeta" && f.IsExported() && f.Tag.Get("json") != "-" {
				panic("no number for " + t.String() + "." + f.Name)
			}
			continue
		}
		number := strings.Split(tag, ",")[1]
		words := strings.Split(f.Tag.Get("json"), ",")
		marks := ""
		for _, word := range words[1:] {
			marks += map[string]string{"omitempty": "?", "omitzero": "!", "inline": "~"}[word]
		}
		json := words[0]
		if t.Name() == "JSONSchemaPropsOrArray" || t.Name() == "JSONSchemaPropsOrBool" || t.Name() == "JSONSchemaPropsOrStringArray" {
			json = f.Name
		}
		if f.Name != strings.Title(json) {
			// The name in refusals.
			json += "/" + f.Name
		}
		fields = append(fields, number+":"+json+":"+marks+x.code(f.Type))
	}
	x.lines[at] = strings.Join(fields, " ")
	return at
}

func writeTable(path string) {
	x := table{index: map[reflect.Type]int{}}
	var kinds []string
	for _, r := range roots() {
		at := x.row(r.t)
		kinds = append(kinds, fmt.Sprintf("@%s %s %d", r.gvk.GroupVersion(), r.gvk.Kind, at))
	}
	out, err := os.Create(path)
	check(err)
	w := bufio.NewWriter(out)
	for _, line := range append(x.lines, kinds...) {
		fmt.Fprintln(w, line)
	}
	check(w.Flush())
	check(out.Close())
}

func main() {
	switch os.Args[1] {
	case "table":
		writeTable(os.Args[2])
	case "corpus":
		writeCorpus(os.Args[2])
	}
}
