"""The look of the profile's page: one style sheet, light and dark, from a phone to a wide screen."""

STYLE = """
:root{color-scheme:light dark;--ground:#f6f6f3;--card:#fff;--ink:#1b1f23;--soft:#59636c;--line:#dfe2dd;--deep:#eef0ec;
--valid:#2f8f6b;--mismatched:#c8442f;--missing:#a9b0b6;--bar:#4a7fb5;--mark:#8a5a00}
@media(prefers-color-scheme:dark){:root{--ground:#121518;--card:#1b1f23;--ink:#e8eaec;--soft:#a2abb3;--line:#31373d;
--deep:#23282d;--valid:#3fa97f;--mismatched:#e8705c;--missing:#6d767e;--bar:#6fa3d8;--mark:#e0b060}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:19px;margin:36px 0 12px}
h3{font-size:15px;margin:0;overflow-wrap:anywhere}
p{margin:4px 0}
.soft,small{color:var(--soft)}
small{font-size:12.5px}
code,pre{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{background:var(--deep);border-radius:3px;padding:0 4px;overflow-wrap:anywhere;white-space:pre-wrap}
pre{margin:8px 0 0;padding:10px 12px;background:var(--deep);border-radius:6px;overflow-x:auto;white-space:pre-wrap;
overflow-wrap:anywhere}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(290px,100%),1fr));gap:14px;align-items:start}
.wide{grid-template-columns:repeat(auto-fill,minmax(min(400px,100%),1fr))}
.flowing{columns:400px 2;column-gap:14px}
.flowing .card{break-inside:avoid;margin:0 0 14px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px;min-width:0}
.flow{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(190px,100%),1fr));gap:14px;margin:18px 0}
.flow b{display:block;font-size:24px;line-height:1.3;font-variant-numeric:tabular-nums}
.head{display:flex;gap:8px;align-items:baseline;justify-content:space-between}
.kind{flex:none;font-size:12px;border:1px solid var(--line);border-radius:10px;padding:0 8px;color:var(--soft);
background:var(--deep)}
.quality{display:flex;gap:1px;height:10px;border-radius:3px;overflow:hidden;margin:10px 0 6px;background:var(--line)}
.quality span{min-width:2px}
.valid{background:var(--valid)}.mismatched{background:var(--mismatched)}.missing{background:var(--missing)}
.key{margin:10px 0}.key i{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 6px 0 14px}
.key i:first-child{margin-left:0}
.columns{display:flex;align-items:flex-end;gap:2px;height:78px;border-bottom:1px solid var(--line);margin-top:10px}
.columns i{flex:1;background:var(--bar);border-radius:2px 2px 0 0;min-height:1px}
.columns i.none{background:var(--line)}
.ends{display:flex;justify-content:space-between;gap:8px;font-size:12px;color:var(--soft)}
table{width:100%;border-collapse:collapse;margin-top:8px;font-size:13px}
th{font-weight:600;text-align:left;color:var(--soft);font-size:12px}
td,th{padding:2px 10px 2px 0;vertical-align:top;overflow-wrap:anywhere;min-width:13ch}
td:last-child,th:last-child{padding-right:0}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;overflow-wrap:normal;min-width:0}
th.n{white-space:normal}
.bars{table-layout:fixed}.bars td{vertical-align:middle;min-width:0}.bars td:first-child{width:46%}.bars .n{width:66px}
.bars div{height:10px;background:var(--bar);border-radius:2px;min-width:1px}
.scroll{overflow-x:auto}
details{margin-top:10px;border-top:1px solid var(--line);padding-top:8px}
summary{cursor:pointer;color:var(--soft);font-size:13px}
summary:focus-visible{outline:2px solid var(--bar);outline-offset:2px}
details.step{border:0;padding:0;margin:28px 0 0}
details.step>summary{font-size:19px;font-weight:600;color:var(--ink);margin-bottom:12px}
details.step>summary small{font-weight:400}
.rows{font-variant-numeric:tabular-nums;white-space:nowrap;color:var(--mark);font-size:13px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 12px;margin:8px 0 0;font-size:13px}
dl.four{grid-template-columns:repeat(2,max-content 1fr)}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
@media(max-width:520px){.flowing{columns:auto}
main{padding:20px 12px 48px}h1{font-size:22px}.flow{grid-template-columns:1fr 1fr}
.flow b{font-size:20px}}
@media print{body{background:#fff}.card{break-inside:avoid}}
"""
