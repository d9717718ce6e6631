{{/* Labels of every object. Argument: the root context. */}}
{{- define "culvert.labels" -}}
app.kubernetes.io/name: culvert
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* What a workload's selector asks for, and never changes. Argument: the component. */}}
{{- define "culvert.selector" -}}
app.kubernetes.io/name: culvert
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Labels of a component's pods. Argument: a dict with `root`, `component` and `extra`. */}}
{{- define "culvert.podLabels" -}}
{{ include "culvert.selector" .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "culvert.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Whether Culvert's own CA is installed: the word "true", or nothing. */}}
{{- define "culvert.ownCa" -}}
{{- if not .Values.ca.external.address }}true{{ end }}
{{- end }}

{{- define "culvert.caAddress" -}}
{{ .Values.ca.external.address | default (printf "culvert-ca.%s.svc:15012" .Release.Namespace) }}
{{- end }}

{{- define "culvert.caAudience" -}}
{{ if include "culvert.ownCa" . }}{{ first .Values.ca.audiences }}{{ else }}{{ .Values.ca.external.audience }}{{ end }}
{{- end }}

{{- define "culvert.caRootsConfigMap" -}}
{{ if include "culvert.ownCa" . }}culvert-ca-root-cert{{ else }}{{ .Values.ca.external.rootsConfigMap }}{{ end }}
{{- end }}

{{- define "culvert.caDnsNames" -}}
{{- $service := printf "culvert-ca.%s.svc" .Release.Namespace -}}
{{ concat (list $service (printf "%s.%s" $service .Values.clusterDomain)) .Values.ca.dnsNames | join "," }}
{{- end }}

{{/* Annotations of what runs before the uninstallation. Argument: its place in the order. */}}
{{- define "culvert.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* A container that runs kubectl. */}}
{{- define "culvert.kubectl" -}}
image: {{ .Values.uninstall.kubectlImage }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
resources:
  requests: {cpu: 10m, memory: 32Mi}
  limits: {memory: 128Mi}
{{- end }}
