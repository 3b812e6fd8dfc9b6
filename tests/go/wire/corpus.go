package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"strings"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

// Objects of every kind, filled by chance: sparsely, so that what is left out is told too.
func writeCorpus(path string) {
	out, err := os.Create(path)
	check(err)
	w := bufio.NewWriter(out)
	coder := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	for i, r := range roots() {
		if strings.HasSuffix(r.gvk.Kind, "List") && i%4 != 0 && r.gvk.Kind != "List" {
			continue
		}
		if r.gvk.Kind == "WatchEvent" {
			// It has no type of its own and stands in no envelope.
			continue
		}
		for round := 0; round < 3; round++ {
			f := filler{rand.New(rand.NewSource(int64(i*10 + round))), []float64{0, 0.5, 0.8}[round]}
			value := reflect.New(r.t)
			f.fill(value.Elem(), 0)
			object := value.Interface().(runtime.Object)
			object.GetObjectKind().SetGroupVersionKind(r.gvk)
			var buffer bytes.Buffer
			check(coder.Encode(object, &buffer))
			if buffer.Len() > 2500 && round == 2 {
				continue
			}
			// As a reader has it: through protocol buffers, then as JSON.
			read := reflect.New(r.t).Interface().(runtime.Object)
			unknown := runtime.Unknown{}
			check(unknown.Unmarshal(buffer.Bytes()[4:]))
			check(read.(interface{ Unmarshal([]byte) error }).Unmarshal(unknown.Raw))
			read.GetObjectKind().SetGroupVersionKind(r.gvk)
			text, err := json.Marshal(read)
			check(err)
			row, err := json.Marshal(map[string]any{
				"pb": base64.StdEncoding.EncodeToString(buffer.Bytes()), "json": json.RawMessage(text),
			})
			check(err)
			fmt.Fprintln(w, string(row))
		}
	}
	check(w.Flush())
	check(out.Close())
}

type filler struct {
	*rand.Rand
	density float64
}

func (f filler) word() string {
	return []string{"a", "web", "ünï", "x-y", "0", "10.0.0.1"}[f.Intn(6)]
}

func (f filler) fill(v reflect.Value, depth int) {
	density := f.density
	for i := 3; i < depth; i++ {
		density /= 2
	}
	if f.Float64() > density && depth > 0 || depth > 12 {
		return
	}
	switch x := v.Addr().Interface().(type) {
	case *metav1.Time:
		*x = metav1.Unix(1700000000+f.Int63n(1000), 0)
		return
	case *metav1.MicroTime:
		*x = metav1.NewMicroTime(time.Unix(1700000000+f.Int63n(1000), f.Int63n(1000000)*1000))
		return
	case *metav1.Duration:
		x.Duration = time.Duration(f.Int63n(1e13)) / 1000 * 1000
		return
	case *resource.Quantity:
		*x = resource.MustParse([]string{"1", "500m", "1Gi", "1500Mi", "0.5", "1e3", "2000m", "12E", "0"}[f.Intn(9)])
		return
	case *intstr.IntOrString:
		*x = []intstr.IntOrString{intstr.FromInt32(0), intstr.FromInt32(8080), intstr.FromString("25%"), intstr.FromString("http")}[f.Intn(4)]
		return
	case *metav1.FieldsV1:
		x.Raw = []byte(`{"f:metadata":{"f:labels":{".":{}}}}`)
		return
	case *runtime.RawExtension:
		x.Raw = []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`)
		return
	case *apiextensions.JSON:
		x.Raw = []byte([]string{`{"a":[1,2.5,"x"]}`, `"x"`, `7`, `true`, `null`}[f.Intn(5)])
		return
	case *apiextensions.JSONSchemaPropsOrBool:
		x.Allows = true
		return
	case *apiextensions.JSONSchemaPropsOrArray:
		x.Schema = &apiextensions.JSONSchemaProps{Type: "string"}
		if f.Intn(2) == 0 {
			*x = apiextensions.JSONSchemaPropsOrArray{JSONSchemas: []apiextensions.JSONSchemaProps{{Type: "integer"}}}
		}
		return
	case *apiextensions.JSONSchemaPropsOrStringArray:
		x.Property = []string{"a"}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.word())
	case reflect.Bool:
		v.SetBool(f.Intn(2) == 0)
	case reflect.Int32, reflect.Int64:
		v.SetInt([]int64{0, 1, -1, 80, 30000}[f.Intn(5)])
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.Intn(200)))
	case reflect.Float64:
		v.SetFloat([]float64{0, 1, 2.5, -1e21, 1e-7}[f.Intn(5)])
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth+1)
		if text, err := json.Marshal(v.Interface()); err == nil && string(text) == "null" {
			// Null and absent are one in JSON.
			v.SetZero()
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte{0, 255, byte(f.Intn(256))})
			return
		}
		n := 1 + f.Intn(2)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := 0; i < n; i++ {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := 0; i < 1+f.Intn(2); i++ {
			value := reflect.New(v.Type().Elem()).Elem()
			f.fill(value, depth+1)
			if value.Kind() == reflect.Slice && value.IsNil() {
				// JSON cannot say the difference to an empty one.
				value.Set(reflect.MakeSlice(value.Type(), 0, 0))
			}
			v.SetMapIndex(reflect.ValueOf(f.word()).Convert(v.Type().Key()), value)
		}
	case reflect.Struct:
		for i := 0; i < v.NumField(); i++ {
			if f := v.Type().Field(i); !f.IsExported() || f.Name == "TypeMeta" {
				continue
			}
			f.fill(v.Field(i), depth+1)
		}
	}
}
