import java.util.*; import java.util.regex.*; import java.text.*; import java.nio.file.*; import java.time.*; import java.time.format.*;
public class Oracle {
  static String q(String s){ if(s==null) return "null"; StringBuilder b=new StringBuilder("\""); for(char c:s.toCharArray()){ if(c<32||c>126||c=='"'||c=='\\') b.append(String.format("\\u%04x",(int)c)); else b.append(c);} return b.append('"').toString(); }
  public static void main(String[] a) throws Exception {
    TimeZone.setDefault(TimeZone.getTimeZone("UTC")); Locale.setDefault(Locale.ENGLISH);
    for(String line: Files.readAllLines(Path.of(a[0]))) {
      String[] p=line.split("\t",-1); for(int i=0;i<p.length;i++) p[i]=p[i].replace("\\n","\n").replace("\\r","\r").replace("\\t","\t").replace("\\\\","\\");
      try {
      if(p[0].equals("find")) { Matcher m=Pattern.compile(p[1], p[2].equals("i")?Pattern.CASE_INSENSITIVE:0).matcher(p[3]); StringBuilder b=new StringBuilder(); while(m.find()) b.append(m.start()).append('-').append(m.end()).append(' '); System.out.println(q(b.toString())); }
      else if(p[0].equals("replace")) System.out.println(q(Pattern.compile(p[1]).matcher(p[3]).replaceAll(p[2])));
      else if(p[0].equals("split")) { StringBuilder b=new StringBuilder("["); String sep=""; for(String s:Pattern.compile(p[1]).split(p[3],Integer.parseInt(p[2]))) {b.append(sep).append(q(s)); sep=",";} System.out.println(b.append("]")); }
      else if(p[0].equals("double")) System.out.println(q(Double.toString(Double.parseDouble(p[1]))));
      else if(p[0].equals("collate")) { Collator c=Collator.getInstance(); c.setDecomposition(Collator.CANONICAL_DECOMPOSITION); System.out.println(c.compare(p[1],p[2])); }
      else if(p[0].equals("format")) { Object n= p[2].contains(".")?(Object)Double.parseDouble(p[2]):(Object)Long.parseLong(p[2]); System.out.println(q(String.format(p[1],n))); }
      else if(p[0].equals("parse")) { SimpleDateFormat f=new SimpleDateFormat(p[1]); f.setLenient(true); try { System.out.println(q(DateTimeFormatter.ISO_OFFSET_DATE_TIME.format(f.parse(p[2]).toInstant().atOffset(ZoneOffset.UTC)))); } catch(ParseException e){ System.out.println("null"); } }
      else if(p[0].equals("print")) System.out.println(q(OffsetDateTime.parse(p[2]).format(DateTimeFormatter.ofPattern(p[1]))));
      } catch(Exception e) { System.out.println("{\"error\":\""+e.getClass().getSimpleName()+"\"}"); }
    } } }
