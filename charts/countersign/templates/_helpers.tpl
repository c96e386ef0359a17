{{/* The name of the chart, in labels. */}}
{{- define "countersign.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the objects. */}}
{{- define "countersign.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "countersign.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What finds the pods; it never changes. */}}
{{- define "countersign.selector" -}}
app.kubernetes.io/name: {{ include "countersign.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The labels of an object. */}}
{{- define "countersign.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "countersign.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_")) -}}
{{- merge $own (.Values.extraLabels | default dict) | toYaml -}}
{{- end -}}

{{/* The metadata of an object: a dict with `root`, and `name`, `labels` and `annotations` where there are any. */}}
{{- define "countersign.metadata" -}}
{{- $root := .root -}}
name: {{ .name | default (include "countersign.fullname" $root) | quote }}
{{- if .namespaced }}
namespace: {{ .namespace | default $root.Release.Namespace | quote }}
{{- end }}
labels:
  {{- merge (include "countersign.labels" $root | fromYaml) (.labels | default dict) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) ($root.Values.extraAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The name of the service account. */}}
{{- define "countersign.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "countersign.fullname" .) -}}
{{- else -}}
{{- if and .Values.rbac.create (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: give serviceAccount.name, or every pod that runs as the namespace's default account may approve" -}}
{{- end -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The image, by digest if there is one. */}}
{{- define "countersign.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The subject of the bindings. */}}
{{- define "countersign.subjects" -}}
- kind: ServiceAccount
  name: {{ include "countersign.serviceAccount" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{/* How the Prometheus operator scrapes the metrics. */}}
{{- define "countersign.endpoint" -}}
{{- $seconds := dict "s" 1 "m" 60 "h" 3600 -}}
{{- $of := dict -}}
{{- range $name := list "interval" "scrapeTimeout" -}}
{{- $text := get $ $name -}}
{{- $_ := set $of $name (mul (regexFind "^[0-9]+" $text | int64) (get $seconds (regexFind "[a-z]+$" $text))) -}}
{{- end -}}
{{- if gt (get $of "scrapeTimeout" | int64) (get $of "interval" | int64) -}}
{{- fail (printf "scrapeTimeout %s is longer than interval %s, which Prometheus refuses" .scrapeTimeout .interval) -}}
{{- end -}}
port: metrics
path: /metrics
interval: {{ .interval }}
scrapeTimeout: {{ .scrapeTimeout }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
A range of Services. One of IPv4 with host bits, which no schema can tell, is refused here and not by a pod that cannot start.
*/}}
{{- define "countersign.serviceCIDR" -}}
{{- if contains "." . -}}
{{- $parts := splitList "/" . -}}
{{- $address := 0 -}}
{{- range splitList "." (first $parts) -}}
{{- $address = add (mul $address 256) (int64 .) -}}
{{- end -}}
{{- $size := 1 -}}
{{- range until (int (sub 32 (int (last $parts)))) -}}
{{- $size = mul $size 2 -}}
{{- end -}}
{{- if mod $address $size -}}
{{- fail (printf "serviceCIDRs: %s has host bits, that is, bits behind its first %s: give the first address of the range" . (last $parts)) -}}
{{- end -}}
{{- end -}}
{{- . -}}
{{- end -}}
