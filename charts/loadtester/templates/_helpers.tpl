{{- define "loadtester.name" -}}
{{- if contains "loadtester" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-loadtester" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- define "loadtester.selector" -}}
app.kubernetes.io/name: loadtester
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "loadtester.labels" -}}
{{ include "loadtester.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{- define "loadtester.account" -}}
{{ .Values.serviceAccount.name | default (include "loadtester.name" .) }}
{{- end }}
